import hashlib
import io
import os
import socket
import tarfile
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from support import served

from labkit import debs, kernel_build, material


class Case(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        self.cache = self.home / "cache"

    def environment(self, **values):
        patch = mock.patch.dict(os.environ, {name: str(value) for name, value in values.items()})
        patch.start()
        self.addCleanup(patch.stop)


class FromFolder(Case):
    def setUp(self):
        super().setUp()
        self.folder = self.home / "lab"
        self.folder.mkdir()
        (self.folder / material.MINIROOTFS).write_bytes(b"userland")
        with tarfile.open(self.folder / "kernels.tar.xz", "w:xz") as archive:
            content = b"kernel"
            info = tarfile.TarInfo("kernels/6.12.50-0-lts/boot/vmlinuz")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        self.write_sums()
        self.environment(AWG_LAB_MATERIAL=self.folder)

    def write_sums(self):
        names = (material.MINIROOTFS, "kernels.tar.xz")
        sums = [f"{material.sha256_of(self.folder / name)}  {name}\n" for name in names]
        (self.folder / "SHA256SUMS").write_text("".join(sums))

    def test_kernels_are_unpacked_and_named(self):
        found = material.find(self.cache)
        self.assertEqual(found.minirootfs, self.folder / material.MINIROOTFS)
        self.assertEqual((found.kernel("6.12.50-0-lts") / "boot/vmlinuz").read_bytes(), b"kernel")
        self.assertIsNone(found.headers)

    def test_an_unknown_kernel_is_named_with_those_there_are(self):
        found = material.find(self.cache)
        with self.assertRaisesRegex(material.Unavailable, "no kernel 9.9.*it has 6.12.50-0-lts"):
            found.kernel("9.9")

    def test_a_changed_file_is_refused(self):
        (self.folder / material.MINIROOTFS).write_bytes(b"userlans")
        with self.assertRaisesRegex(material.Unavailable, f"{material.MINIROOTFS}.*SHA-256"):
            material.find(self.cache)

    def test_a_file_without_checksum_is_refused(self):
        (self.folder / "SHA256SUMS").write_text("")
        with self.assertRaisesRegex(material.Unavailable, "not listed"):
            material.find(self.cache)

    def test_new_material_does_not_meet_old_kernels(self):
        old = material.find(self.cache).kernels
        with tarfile.open(self.folder / "kernels.tar.xz", "w:xz") as archive:
            archive.addfile(tarfile.TarInfo("kernels/6.12.60-0-lts/x"), io.BytesIO())
        self.write_sums()
        self.assertNotEqual(material.find(self.cache).kernels, old)


class FromSources(Case):
    def setUp(self):
        super().setUp()
        self.site = self.home / "site"
        self.site.mkdir()
        self.file = self.site / material.MINIROOTFS
        self.file.write_bytes(b"userland" * 20000)
        pinned = hashlib.sha256(self.file.read_bytes()).hexdigest()
        self.patch(material, "MINIROOTFS_SHA256", pinned)
        self.patch(material, "_CONNECT_LIMIT", 2)
        kernels = self.home / "built"
        kernels.mkdir()
        built = kernel_build.Built(kernels, None, ["kernels built from a source"])
        self.build = self.patch(kernel_build, "build", mock.Mock(return_value=built))
        self.patch(material.sys, "stderr", io.StringIO())
        self.environment(AWG_LAB_MATERIAL=self.home / "nothing")

    def patch(self, where, name, value):
        patch = mock.patch.object(where, name, value)
        self.addCleanup(patch.stop)
        return patch.start()

    def test_minirootfs_comes_from_the_site_and_is_kept(self):
        with served(self.site) as url:
            self.environment(AWG_LAB_ALPINE_URL=url)
            found = material.find(self.cache)
            self.assertEqual(found.minirootfs.read_bytes(), self.file.read_bytes())
            self.assertIn("kernels built from a source", found.notes)
            self.assertIn("no lab material", found.notes[0])
        again = material.find(self.cache)  # the site is gone
        self.assertEqual(again.minirootfs, found.minirootfs)

    def test_a_wrong_checksum_leaves_nothing_behind(self):
        with served(self.site) as url:
            self.environment(AWG_LAB_ALPINE_URL=url)
            self.file.write_bytes(b"something else")
            with self.assertRaisesRegex(material.Unavailable, "SHA-256 .* expected .* not taken"):
                material.find(self.cache)
        self.assertEqual(list((self.cache / "material").glob("alpine*")), [])

    def test_a_missing_file_is_told_with_its_address(self):
        self.file.unlink()
        with served(self.site) as url:
            self.environment(AWG_LAB_ALPINE_URL=url)
            with self.assertRaisesRegex(material.Unavailable, f"{url}.*HTTP 404"):
                material.find(self.cache)

    def test_no_site_is_told_in_one_line(self):
        self.environment(AWG_LAB_ALPINE_URL="http://127.0.0.1:9")
        with self.assertRaisesRegex(material.Unavailable, "no lab material.*refused") as caught:
            material.find(self.cache)
        self.assertNotIn("\n", str(caught.exception))

    def test_a_site_that_does_not_answer_is_given_up(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/{material.MINIROOTFS}"
            with self.assertRaisesRegex(material.Unavailable, "timed out"):
                material.download(url, self.home / "file", "0" * 64, limit=0.3)

    def test_a_file_that_takes_too_long_is_given_up(self):
        self.patch(material, "_TOTAL_LIMIT", -1)
        with served(self.site) as url:
            self.environment(AWG_LAB_ALPINE_URL=url)
            with self.assertRaisesRegex(material.Unavailable, "given up"):
                material.find(self.cache)
        self.assertEqual(list((self.cache / "material").glob("alpine*")), [])

    def test_a_file_without_end_is_not_taken(self):
        self.patch(material, "_LARGEST", 1 << 16)
        with served(self.site) as url:
            self.environment(AWG_LAB_ALPINE_URL=url)
            with self.assertRaisesRegex(material.Unavailable, "larger than"):
                material.find(self.cache)

    def test_a_failed_build_of_the_kernels_is_the_reason(self):
        self.build.side_effect = debs.Unavailable("apt-get gave no answer")
        with served(self.site) as url:
            self.environment(AWG_LAB_ALPINE_URL=url)
            with self.assertRaisesRegex(material.Unavailable, "kernels .* apt-get gave no answer"):
                material.find(self.cache)


if __name__ == "__main__":
    unittest.main()
