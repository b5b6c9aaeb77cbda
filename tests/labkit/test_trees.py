import gzip
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import support  # noqa: F401, the path of the lab's package

from labkit import trees


class Images(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        (self.home / "boot").mkdir()

    def held(self):
        def run(script, timeout):
            done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=timeout)
            return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

        return trees.images(SimpleNamespace(run=run), self.home / "boot")

    def make(self, content, when):
        tree = self.home / "tree"
        tree.mkdir(exist_ok=True)
        (tree / "init").write_text(content)
        os.utime(tree / "init", (when, when))
        archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"init\n", cwd=tree,
                                 capture_output=True, check=True).stdout
        image = self.home / "boot/initramfs-virt"
        image.write_bytes(gzip.compress(archive, mtime=when))
        return image.read_bytes()

    def test_the_time_of_its_making_does_not_count_and_a_byte_does(self):
        first = self.make("exec /sbin/init\n", 1)
        wanted = self.held()
        self.assertEqual(list(wanted), [str(self.home / "boot/initramfs-virt")])
        self.assertNotEqual(self.make("exec /sbin/init\n", 2), first)
        self.assertEqual(self.held(), wanted)
        self.make("exec /sbin/inip\n", 2)
        self.assertNotEqual(self.held(), wanted)

    def test_one_that_is_torn_is_no_image(self):
        whole = self.make("exec /sbin/init\n" * 200, 1)
        (self.home / "boot/initramfs-virt").write_bytes(whole[:-20])
        with self.assertRaisesRegex(RuntimeError, "initramfs"):
            self.held()
