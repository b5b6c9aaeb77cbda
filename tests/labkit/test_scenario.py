import hashlib
import subprocess
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from support import REPOSITORY

from labkit import bench, disk, products, scenario, transfer

STEP = "steps:\n  - run: 'true'\n"


class Written(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)

    def load(self, text, name="one"):
        (self.home / f"{name}.yaml").write_text(f"name: {name}\nabout: a test\n{text}")
        return scenario.load_all(self.home)[name]

    def test_those_of_the_project_can_be_played(self):
        known = scenario.load_all(REPOSITORY / "tests/lab")
        bench = SimpleNamespace(cache=self.home)
        for entry in known.values():
            products.needed(bench, known, entry)

    def test_a_host_without_options_is_as_before(self):
        host = self.load(STEP).host
        self.assertEqual((host["cmdline"], host["network"], host["media"], host["catalog"]), ("", "user", [], None))

    def test_what_cannot_be_is_refused(self):
        cases = {
            "host: {network: bridge}\n" + STEP: "no network bridge",
            "host: {distribution: slackware}\n" + STEP: "no distribution slackware",
            "host: {distribution: debian, loader: grub}\n" + STEP: "no choice of loader",
            "host: {network: none, catalog: {}}\n" + STEP: "reaches no catalog",
            "host: {cmdline: quiet, from: finished}\n" + STEP: "cmdline belongs to",
            "host: {media: bundle}\n" + STEP: "media is a list",
            "host: {catalog: {state: old}}\n" + STEP: "no state old",
            "host: {catalog: {module: []}}\n" + STEP: "unknown key module",
            "steps:\n  - catalog: {state: bad}\n": "no state bad",
            "steps:\n  - keep: {path: /root/x}\n": "keep needs",
            "steps:\n  - keep: {path: /root/x, as: ../x}\n": "keep needs",
        }
        for text, problem in cases.items():
            with self.assertRaisesRegex(scenario.Invalid, problem, msg=text):
                self.load(text)

    def test_media_come_from_the_scenario_that_keeps_them(self):
        maker = self.load("steps:\n  - keep: {path: /root/b, as: b.tar}\n", "maker")
        user = self.load("host: {media: [b.tar]}\n" + STEP, "user")
        known = scenario.load_all(self.home)
        bench = SimpleNamespace(cache=self.home, disk_of=lambda *_: Path("base-1.qcow2"))
        product, = products.needed(bench, known, user)
        self.assertEqual((product.maker.name, product.path), ("maker", self.home / "kept/b.tar"))
        self.assertFalse(products.fresh(bench, known, product, None))
        product.path.parent.mkdir()
        product.path.write_text("a bundle")
        products.record(bench, known, maker, None, product.path)
        self.assertTrue(products.fresh(bench, known, product, None))
        bench.disk_of = lambda *_: Path("base-2.qcow2")
        self.assertFalse(products.fresh(bench, known, product, None))
        with self.assertRaisesRegex(scenario.Invalid, "no scenario keeps a file c.tar"):
            products.needed(bench, known, self.load("host: {media: [c.tar]}\n" + STEP, "other"))

    def test_each_distribution_has_a_disk_of_its_own(self):
        made = []
        with mock.patch.object(bench.Bench, "__init__", lambda self: None), \
                mock.patch.object(bench.debian, "base", lambda *_: made.append("debian")), \
                mock.patch.object(bench.Bench, "base", lambda *_: made.append("alpine")):
            one = bench.Bench()
            one.cache, one.material, one.authority = self.home, None, None
            (self.home / "disks").mkdir()
            one.disk_of(self.load(STEP).host)
            one.disk_of(self.load("host: {distribution: debian}\n" + STEP).host)
        self.assertEqual(made, ["alpine", "debian"])

    def test_a_change_where_it_starts_makes_it_anew(self):
        self.load("steps:\n  - snapshot: first\n", "first")
        self.load("host: {from: first}\nsteps:\n  - snapshot: second\n", "second")
        user = self.load("host: {from: second}\n" + STEP, "user")
        bench = SimpleNamespace(cache=self.home, disk_of=lambda *_: Path("base.qcow2"))
        known = scenario.load_all(self.home)
        product, = products.needed(bench, known, user)
        product.path.parent.mkdir()
        for path in (product.path, *product.beside):
            path.touch()
        products.record(bench, known, known["second"], None, product.path)
        self.assertTrue(products.fresh(bench, known, product, None))
        self.load("time_limit: 60\nsteps:\n  - snapshot: first\n", "first")
        changed = scenario.load_all(self.home)
        product, = products.needed(bench, changed, changed["user"])
        self.assertFalse(products.fresh(bench, changed, product, None))


class Options(unittest.TestCase):
    def test_words_come_after_those_of_the_machine(self):
        with tempfile.TemporaryDirectory() as home:
            for loader in disk.LOADERS.values():
                path, name = loader.options
                target = Path(home) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(f'# {name}="none"\n{name}="quiet"\nother="x"\n')
                disk.add_kernel_options(Path(home), loader, "lockdown=integrity x=1")
                self.assertEqual(target.read_text(),
                                 f'# {name}="none"\n{name}="quiet lockdown=integrity x=1"\nother="x"\n')
                target.write_text("nothing\n")
                with self.assertRaisesRegex(RuntimeError, "0 times"):
                    disk.add_kernel_options(Path(home), loader, "quiet")

    def test_media_hold_the_files_and_their_checksums(self):
        with tempfile.TemporaryDirectory() as home:
            source = Path(home) / "kept"
            source.write_bytes(bytes(range(256)) * 4096 * 5)
            image = disk.media({"bundle.tar": source}, Path(home) / "media.img")

            def read(name):
                return subprocess.run(["debugfs", "-R", f"cat {name}", image], capture_output=True, check=True).stdout

            self.assertEqual(read("bundle.tar"), source.read_bytes())
            digest = hashlib.sha256(source.read_bytes()).hexdigest()
            self.assertEqual(read("bundle.tar.sha256").decode(), f"{digest}  bundle.tar\n")


class _Guest:
    """Its shell is this machine's, its disk for transfers a plain file."""

    def __init__(self, disk):
        self.disk, self.prelude = disk, ""

    def run(self, script, limit):
        script = script.replace("disk=\n", f"disk={self.disk}\n", 1).replace("in /sys/block/vd*", "in")
        done = subprocess.run(["sh", "-c", self.prelude + script], capture_output=True, text=True, timeout=limit)
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


class Transfer(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        self.disk = transfer.create(self.home / "disk")
        self.guest = _Guest(self.disk)

    def test_files_go_both_ways_whole(self):
        for size in (1, 1 << 20, (3 << 20) + 17):
            content = hashlib.shake_256(str(size).encode()).digest(size)
            transfer.put(self.guest, self.disk, content, self.home / "in")
            self.assertEqual((self.home / "in").read_bytes(), content)
            transfer.get(self.guest, self.disk, self.home / "in", self.home / "out")
            self.assertEqual((self.home / "out").read_bytes(), content)

    def test_what_changes_on_the_way_is_told_and_not_kept(self):
        self.guest.prelude = f'dd() {{ command dd "$@"; printf X | command dd of={self.disk} conv=notrunc; }}\n'
        (self.home / "in").write_bytes(b"content")
        with self.assertRaisesRegex(transfer.Failed, "changed on its way out"):
            transfer.get(self.guest, self.disk, self.home / "in", self.home / "out")
        self.assertEqual([path.name for path in self.home.glob("out*")], [])

    def test_a_missing_file_is_told(self):
        with self.assertRaisesRegex(transfer.Failed, "no such file"):
            transfer.get(self.guest, self.disk, self.home / "nothing", self.home / "out")


if __name__ == "__main__":
    unittest.main()
