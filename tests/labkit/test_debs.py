import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import support  # noqa: F401  (finds labkit)

from labkit import debs


class Debs(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)

    def package(self, name):
        tree = self.home / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "usr/bin/tool").write_bytes(b"tool")
        (tree / "usr/bin/other").symlink_to("tool")
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1.2-3\nArchitecture: all\nMaintainer: lab <lab@lab>\n"
            "Description: a package for a test\n")
        deb = self.home / f"{name}_1.2-3_all.deb"
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, deb], check=True,
                       stdout=subprocess.DEVNULL)
        return deb

    def test_files_and_links_are_read_without_unpacking(self):
        found = {member.name: (member.linkname, content)
                 for member, content in debs.members(self.package("tool"))}
        self.assertEqual(found, {"usr/bin/tool": ("", b"tool"), "usr/bin/other": ("tool", b"")})

    def test_unpacked_where_asked(self):
        debs.unpack(self.package("tool"), self.home / "new" / "root")
        self.assertEqual((self.home / "new/root/usr/bin/other").read_bytes(), b"tool")

    def test_a_broken_package_is_told(self):
        broken = self.home / "broken.deb"
        broken.write_bytes(b"no archive")
        with self.assertRaisesRegex(debs.Unavailable, "dpkg-deb failed"):
            debs.unpack(broken, self.home / "root")

    def test_what_is_there_needs_no_mirror(self):
        store = self.home / "debs" / "trixie"
        store.mkdir(parents=True)
        deb = self.package("tool").rename(store / "tool_1.2-3_all.deb")
        (store / "index.json").write_text('{"tool": "tool_1.2-3_all.deb"}')
        with mock.patch.dict(os.environ, {"AWG_LAB_DEBIAN_URL": "http://127.0.0.1:9/debian"}):
            self.assertEqual(debs.fetch(["tool"], self.home), {"tool": deb})
            self.assertEqual(debs.version(deb), "1.2-3")

    def test_a_mirror_that_is_not_there_is_told(self):
        with mock.patch.dict(os.environ, {"AWG_LAB_DEBIAN_URL": "http://127.0.0.1:9/debian"}):
            with self.assertRaisesRegex(debs.Unavailable, "127.0.0.1:9/debian"):
                debs.fetch(["tool"], self.home)

    def test_the_mirror_of_the_machine_is_used(self):
        cases = {
            "deb http://mirror.example/debian bookworm main\n": "http://mirror.example/debian",
            "deb [signed-by=/k.gpg] https://m.example/debian/ trixie main": "https://m.example/debian",
            "Types: deb\nURIs: http://m.example/debian\nSuites: trixie": "http://m.example/debian",
            "deb http://m.example/debian-security bookworm-security main\n": None,
            "# deb http://m.example/debian bookworm main\n": None,
            "deb http://archive.example/ubuntu noble main\n": None,
        }
        for text, mirror in cases.items():
            self.assertEqual(debs._mirror_in(text), mirror, text)


if __name__ == "__main__":
    unittest.main()
