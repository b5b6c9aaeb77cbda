import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

from support import REPOSITORY, lab_cache, served

from labkit import debs, minisign
from releasekit import Problem, alpine, archive, sign, text, twice

SHA512 = "0" * 128
VALUES = {"VERSION": "1.2.3", "DESCRIPTION": "a program", "COMMIT": "0123456789ab", "LICENSE": "MIT OR Apache-2.0",
          "SHA512": SHA512, "SOURCEURL": "https://example.org/1.2.3/awg-install-1.2.3.tar.gz",
          "HOMEPAGE": "https://example.org/", "MAINTAINER": "A Name <name@example.org>"}
RECIPE = REPOSITORY / "scripts/alpine/APKBUILD"
RAN = "#!/bin/sh\necho it ran\n"


class Archives(unittest.TestCase):
    def test_nothing_but_the_content_counts(self):
        files = {"b": (b"two", 0o644), "a": (b"one", 0o755)}
        one = archive.tar_gz("top", files, 1_000_000_000)
        self.assertEqual(one, archive.tar_gz("top", dict(reversed(files.items())), 1_000_000_000))
        self.assertNotEqual(one, archive.tar_gz("top", files, 1_000_000_001))
        with tarfile.open(fileobj=io.BytesIO(one)) as packed:
            found = [(m.name, m.mode, m.uid, m.gid, m.uname, m.mtime, packed.extractfile(m).read()) for m in packed]
        self.assertEqual(found, [("top/a", 0o755, 0, 0, "root", 1_000_000_000, b"one"),
                                 ("top/b", 0o644, 0, 0, "root", 1_000_000_000, b"two")])

    def test_sha256sum_reads_the_list(self):
        with tempfile.TemporaryDirectory() as place:
            place = Path(place)
            (place / "a").write_text("one")
            (place / "b").write_text("two")
            (place / "SHA256SUMS").write_text(archive.sums(place, ["b", "a"]))
            check = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
            self.assertEqual(subprocess.run(check, cwd=place, capture_output=True, text=True).stdout, "a: OK\nb: OK\n")
            (place / "b").write_text("three")
            self.assertNotEqual(subprocess.run(check, cwd=place, capture_output=True).returncode, 0)


class Texts(unittest.TestCase):
    def test_an_address_names_its_version_and_nothing_strange(self):
        self.assertEqual(text.address("https://example.org/v1.2.3/", "1.2.3"), "https://example.org/v1.2.3")
        for url in ("https://example.org/latest", "ftp://example.org/1.2.3", "https://example.org/1.2.3/'x",
                    "https://example.org/1.2.3/$(id)", "https://example.org/1.2.3 x", "https://example.org/1.2.3\n"):
            with self.assertRaises(Problem, msg=url):
                text.address(url, "1.2.3")

    def test_parts_without_the_place_and_without_chance(self):
        listed = {"bomFormat": "CycloneDX", "components": [{"name": "a"}], "metadata": {"ref": "path+file:///src/x#awg@1"}}
        self.assertIn("path+file:///awg-install#awg@1", text.parts(json.dumps(listed), Path("/src/x")))
        for wrong in (listed | {"serialNumber": "urn:uuid:1"}, listed | {"components": []}, listed | {"bomFormat": "x"},
                      listed | {"other": "/src/x/y"}):
            with self.assertRaises(Problem, msg=wrong):
                text.parts(json.dumps(wrong), Path("/src/x"))

    def test_the_second_run_puts_its_files_elsewhere(self):
        first = ["--out", "a", "--url=https://example.org/1", "--twice", "b", "--key", "k", "--out=c"]
        self.assertEqual(twice.told_again(first), ["--url=https://example.org/1", "--key", "k"])


class Recipe(unittest.TestCase):
    def filled(self, **values):
        return text.filled(RECIPE.read_text(), VALUES | values)

    def test_it_says_what_it_was_told(self):
        shown = ('printf "%s\\n" "$pkgname $pkgver $arch $license" $source "$AWG_COMMIT" $sha512sums; CTARGET=t; builddir=/b; '
                 "_program; for step in prepare build check package; do command -v $step; done")
        done = subprocess.run(["sh", "-euc", f"{self.filled()}\n{shown}"], capture_output=True, text=True)
        self.assertEqual(done.stdout.splitlines(), [
            "awg-install 1.2.3 x86_64 aarch64 MIT OR Apache-2.0", f"awg-install-1.2.3.tar.gz::{VALUES['SOURCEURL']}",
            "0123456789ab", SHA512, "awg-install-1.2.3.tar.gz", "/b/target/t/release/awg-install",
            "prepare", "build", "check", "package"], done.stderr)

    def test_it_packs_what_its_subpackages_expect(self):
        """The program is a stand-in that says how it was called; abuild's part is a directory each."""
        with tempfile.TemporaryDirectory() as place:
            place = Path(place)
            program = place / "src/target/t/release/awg-install"
            program.parent.mkdir(parents=True)
            program.write_text('#!/bin/sh\necho "$@"\n')
            program.chmod(0o755)
            for name in ("LICENSE-MIT", "LICENSE-APACHE"):
                shutil.copy(REPOSITORY / name, place / "src")
            run = f'{self.filled()}\nCTARGET=t builddir={place}/src pkgdir={place}/pkg\ncd "$builddir"\ncheck\npackage'
            subprocess.run(["sh", "-euc", run], check=True, stdout=subprocess.DEVNULL)
            packed = {str(path.relative_to(place / "pkg/usr")): path for path in (place / "pkg").rglob("*") if path.is_file()}
            self.assertEqual({name: path.read_text().strip() for name, path in packed.items() if "licenses" not in name}, {
                "sbin/awg-install": '#!/bin/sh\necho "$@"',
                "share/man/man1/awg-install.1": "man",
                "share/bash-completion/completions/awg-install": "completions bash",
                "share/zsh/site-functions/_awg-install": "completions zsh",
                "share/fish/vendor_completions.d/awg-install.fish": "completions fish",
            })
            self.assertEqual(sum("share/licenses/awg-install/LICENSE-" in name for name in packed), 2)

    def test_what_is_missing_or_would_be_run_is_refused(self):
        for values in ({"DESCRIPTION": "$(id)"}, {"DESCRIPTION": 'a"b'}, {"LICENSE": "a`id`"}, {"MAINTAINER": "a\nid"},
                       {"HOMEPAGE": ""}, {"OTHER": "x"}):
            with self.assertRaises(Problem, msg=values):
                self.filled(**values)
        with self.assertRaises(Problem):
            text.filled(RECIPE.read_text() + "@UNKNOWN@", VALUES)


class Fetched(unittest.TestCase):
    """The line in an Alpine root, by its BusyBox; the file comes over loopback."""

    def tried(self, sha256=None, path="1.2.3"):
        name = "awg-install-1.2.3-x86_64"
        with tempfile.TemporaryDirectory() as site, served(site) as url:
            file = Path(site, "1.2.3", name)
            file.parent.mkdir()
            file.write_text(RAN)
            try:
                with alpine.root() as place:
                    line = text.fetch_line(f"{url}/{path}", name, sha256 or archive.sha256(file))
                    done = alpine.run(place, line)
                    return done, (place / "root" / name)
            except alpine.Skipped as why:
                self.skipTest(str(why))

    def test_the_right_file_runs(self):
        done, _ = self.tried()
        self.assertEqual((done.returncode, done.stdout), (0, "awg-install-1.2.3-x86_64: OK\nit ran\n"), done.stderr)

    def test_another_file_does_not_run(self):
        done, _ = self.tried(sha256="0" * 64)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("FAILED", done.stdout)
        self.assertNotIn("it ran", done.stdout)

    def test_a_file_that_is_not_there_does_not_run(self):
        done, _ = self.tried(path="1.2.4")
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("OK", done.stdout)


class Signed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.place)
        try:
            cls.minisign = minisign.program(lab_cache())
        except debs.Unavailable as why:
            raise unittest.SkipTest(f"minisign cannot be had: {why}") from why
        for name, password in (("open", None), ("locked", "a password")):
            subprocess.run([cls.minisign, "-G", *([] if password else ["-W"]), "-p", cls.place / f"{name}.pub", "-s",
                            cls.place / name], check=True, capture_output=True, text=True, input=f"{password}\n{password}\n")
        (cls.place / "password").write_text("a password\n")

    def signature(self, signer):
        path = self.place / "SHA256SUMS"
        path.write_text("sums\n")
        self.assertIn(signer.public, signer.sign(path, "awg-install 1.2.3"))
        return (self.place / "SHA256SUMS.minisig").read_text()

    def test_the_same_file_has_the_same_signature(self):
        signer = sign.Signer(self.minisign, self.place / "open")
        self.assertEqual(signer.public, (self.place / "open.pub").read_text().splitlines()[1])
        one = self.signature(signer)
        self.assertIn("trusted comment: awg-install 1.2.3\n", one)
        self.assertEqual(one, self.signature(signer))

    def test_a_key_with_a_password(self):
        self.signature(sign.Signer(self.minisign, self.place / "locked", self.place / "password"))
        with self.assertRaisesRegex(Problem, "--password-file"):
            sign.Signer(self.minisign, self.place / "locked")

    def test_what_is_no_key_is_seen_before_the_build(self):
        with self.assertRaisesRegex(Problem, "minisign with"):
            sign.Signer(self.minisign, self.place / "open.pub")


if __name__ == "__main__":
    unittest.main()
