import base64
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

from support import REPOSITORY, lab_cache

from labkit import debs

RELEASE = "6.12.50-0-lts"
PASSWORD = "a key's password"


class Catalog(unittest.TestCase):
    """The script with the real minisign, out of Debian's packages where it is not installed."""

    @classmethod
    def setUpClass(cls):
        cls.home = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.home)
        if not [*REPOSITORY.glob("target/*/awg-install"), *REPOSITORY.glob("target/*/*/awg-install")]:
            raise unittest.SkipTest("awg-install is not built: cargo build")
        cls.minisign = shutil.which("minisign")
        cls.environment = dict(os.environ)
        if not cls.minisign:
            try:
                for deb in debs.fetch(["minisign", "libsodium23"], lab_cache()).values():
                    debs.unpack(deb, cls.home / "debs")
            except debs.Unavailable as why:
                raise unittest.SkipTest(f"minisign cannot be had: {why}") from why
            cls.minisign = str(cls.home / "debs/usr/bin/minisign")
            cls.environment["LD_LIBRARY_PATH"] = str(next((cls.home / "debs/usr/lib").glob("*-linux-gnu")))
        cls.key = cls.generate("key")
        (cls.home / "password").write_text(f"{PASSWORD}\n")

    @classmethod
    def generate(cls, name, password=None):
        files = ["-p", cls.home / f"{name}.pub", "-s", cls.home / name]
        subprocess.run([cls.minisign, "-G", *files, *([] if password else ["-W"])], check=True, capture_output=True,
                       env=cls.environment, text=True, input=f"{password}\n{password}\n")
        return cls.home / name

    def setUp(self):
        self.here = Path(tempfile.mkdtemp(dir=self.home))
        self.site, self.built = self.here / "site", self.here / "built"
        self.documents = self.site / "v1/x86_64"
        self.add_module(RELEASE)

    def add_module(self, release):
        module = base64.b64decode((REPOSITORY / "scripts/fakeroot/amneziawg.ko.base64").read_text())
        place = self.built / release
        place.mkdir(parents=True, exist_ok=True)
        (place / "amneziawg.ko").write_bytes(module.replace(RELEASE.encode(), release.encode()))

    def add_package(self, release, name="linux-lts", version="6.12.50-r0"):
        def stream(member, content, end):
            plain = io.BytesIO()
            archive = tarfile.open(fileobj=plain, mode="w")
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
            if end:
                archive.close()
            return gzip.compress(plain.getvalue())
        info = f"# of a test\npkgname = {name}\npkgver = {version}\narch = x86_64\n".encode()
        package = (stream(".SIGN.RSA.nobody.rsa.pub", b"signature", False) + stream(".PKGINFO", info, False)
                   + stream("boot/vmlinuz-lts", b"kernel", True))
        (self.built / release / f"{name}-{version}.apk").write_bytes(package)

    def run_it(self, *arguments, key=None):
        return subprocess.run(
            [REPOSITORY / "scripts/catalog", "--out", self.site, "--key", key or self.key, "--minisign", self.minisign,
             *arguments], capture_output=True, text=True, env=self.environment, check=False)

    def make(self, *arguments, key=None):
        done = self.run_it("--name", "a test's", "--netlink", "3", *arguments, key=key)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refused(self, *arguments):
        done = self.run_it(*arguments)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertFalse(list(self.site.glob(".new-*")))
        return done.stderr

    def document(self, stem):
        return json.loads((self.documents / f"{stem}.json").read_bytes())

    def verify(self, stem, key=None):
        public = f"{key or self.key}.pub"
        subprocess.run([self.minisign, "-V", "-p", public, "-m", self.documents / f"{stem}.json"], check=True,
                       capture_output=True, env=self.environment)

    def files(self):
        return {str(path.relative_to(self.site)): path.read_bytes() for path in self.site.rglob("*") if path.is_file()}

    def test_what_is_made_is_signed_and_complete(self):
        self.add_package(RELEASE)
        self.make(self.built)
        for stem in ("index", RELEASE):
            self.verify(stem)
        index, shard = self.document("index"), self.document(RELEASE)
        self.assertEqual(index["releases"], [{"release": RELEASE, "netlink": [3], "kernel": True}])
        self.assertEqual((shard["kind"], shard["arch"], shard["serial"], shard["release"]),
                         ("release", "x86_64", 1, RELEASE))
        self.assertEqual(shard["modules"][0]["srcversion"], "0123456789ABCDEF0123456")
        self.assertEqual((shard["kernel"][0]["package"], shard["kernel"][0]["version"]), ("linux-lts", "6.12.50-r0"))
        for entry in shard["modules"] + shard["kernel"]:
            file = (self.documents / entry["url"]).resolve()
            self.assertEqual(file.name, entry["sha256"])
            self.assertEqual(file.stat().st_size, entry["size"])
        # A web server runs as somebody else.
        for path in self.site.rglob("*"):
            if path.name != ".lock":
                self.assertEqual(path.stat().st_mode & 0o004, 0o004, path)

    def test_the_same_again_changes_nothing(self):
        self.make(self.built)
        before = self.files()
        done = self.make(self.built)
        self.assertIn("0 documents signed", done.stdout)
        self.assertEqual(self.files(), before)

    def test_only_what_changes_is_signed_anew_and_the_serial_grows(self):
        self.make(self.built)
        before = self.document(RELEASE)
        self.add_module("6.9.100-0-lts")
        self.add_module("6.12.51-0-lts")
        self.make(self.built)
        self.assertEqual(self.document(RELEASE), before)
        self.assertEqual([self.document(stem)["serial"] for stem in ("6.12.51-0-lts", "index")], [2, 2])
        releases = [listed["release"] for listed in self.document("index")["releases"]]
        self.assertEqual(releases, ["6.12.51-0-lts", RELEASE, "6.9.100-0-lts"])
        # The index is bounded, the catalog is not.
        self.make("--index-size", "2", self.built)
        self.assertEqual([listed["release"] for listed in self.document("index")["releases"]],
                         ["6.12.51-0-lts", RELEASE])
        self.assertTrue((self.documents / "6.9.100-0-lts.json").is_file())

    def test_a_module_replaces_one_of_its_generation(self):
        self.make(self.built)
        old = self.document(RELEASE)["modules"][0]["sha256"]
        (self.built / RELEASE / "netlink").write_text("2\n")
        self.make(self.built)
        self.assertEqual([m["netlink"] for m in self.document(RELEASE)["modules"]], [3, 2])
        self.assertEqual(self.document("index")["releases"][0]["netlink"], [2, 3])
        (self.built / RELEASE / "netlink").unlink()
        module = self.built / RELEASE / "amneziawg.ko"
        module.write_bytes(module.read_bytes().replace(b"0123456789ABCDEF", b"FEDCBA9876543210"))
        self.make(self.built)
        self.assertEqual([m["srcversion"][:16] for m in self.document(RELEASE)["modules"]],
                         ["FEDCBA9876543210", "0123456789ABCDEF"])
        # Hosts that have seen the older list still find its files.
        self.assertTrue((self.site / "objects" / old[:2] / old).is_file())
        self.make("--withdraw", old)
        self.assertEqual([m["netlink"] for m in self.document(RELEASE)["modules"]], [3])
        self.assertIn("no such module is listed", self.refused("--withdraw", old))

    def test_renewed_with_another_key(self):
        self.make("--days", "1", self.built)
        self.assertIn("expires", self.make(self.built).stderr)
        before = {stem: self.document(stem) for stem in ("index", RELEASE)}
        other = self.generate("other", PASSWORD)
        self.make("--renew", "--password-file", self.home / "password", key=other)
        for stem, old in before.items():
            self.verify(stem, other)
            new = self.document(stem)
            self.assertEqual(new["serial"], old["serial"] + 1)
            self.assertGreater(new["expires"], old["expires"])
            same = set(new) - {"serial", "issued", "expires"}
            self.assertEqual({key: new[key] for key in same}, {key: old[key] for key in same})
        done = self.run_it("--renew", key=other)
        self.assertIn("a key with a password needs --password-file", done.stderr)
        self.verify("index", other)

    def test_what_was_cut_off_is_finished(self):
        self.make(self.built)
        before = self.files()
        # Half of a renewal is in place, the other half signed; and one is not signed at all.
        self.make("--renew")
        after = self.files()
        signed = self.site / ".signed-x86_64"
        signed.mkdir()
        for name in (f"{RELEASE}.json", "index.json", "index.json.minisig"):
            (self.documents / name).rename(signed / name)
            (self.documents / name).write_bytes(before[f"v1/x86_64/{name}"])
        (self.site / ".new-1").mkdir()
        (self.site / ".new-1/index.json").write_text("half")
        self.make(self.built)
        self.assertEqual(self.files(), after)
        self.assertEqual([path.name for path in self.site.glob(".*")], [".lock"])

    def test_what_is_wrong_is_told_and_nothing_written(self):
        name = ("--name", "a test's")
        self.assertIn("--name is missing", self.refused(self.built))
        self.assertIn("of which netlink generation?", self.refused(*name, self.built))
        options = (*name, "--netlink", "3")
        self.assertIn("is for x86_64, not aarch64", self.refused(*options, "--arch", "aarch64", self.built))
        place = self.built / RELEASE
        place.rename(self.built / "6.12.51-0-lts")
        self.assertIn("was built for 6.12.50-0-lts, and lies in 6.12.51-0-lts", self.refused(*options, self.built))
        (self.built / "6.12.51-0-lts").rename(place)
        self.add_package(RELEASE, version="6.12.51-r0")
        self.assertIn("is linux-lts 6.12.51-r0, and lies in 6.12.50-0-lts", self.refused(*options, self.built))
        next(place.glob("*.apk")).write_bytes(b"<html>")
        self.assertIn("cannot be read as a package", self.refused(*options, self.built))
        next(place.glob("*.apk")).unlink()
        (place / "netlink").write_text("three")
        self.assertIn("not a number from 1 to 255", self.refused(*options, self.built))
        (place / "netlink").unlink()
        (self.built / "empty").mkdir()
        self.assertIn("holds neither amneziawg.ko nor a package", self.refused(*options, self.built))
        (self.built / "empty").rmdir()
        (place / "amneziawg.ko").write_bytes(b"<html>")
        self.assertIn("awg-install refuses it", self.refused(*options, self.built))
        self.assertFalse((self.site / "v1").exists())
        self.add_module(RELEASE)
        self.assertIn("nowhere is not there", self.refused(*options, "--minisign", "nowhere", self.built))
        self.assertFalse((self.site / "v1").exists())


if __name__ == "__main__":
    unittest.main()
