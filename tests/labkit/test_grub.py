import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import support  # noqa: F401  (finds labkit)

from labkit import disk, grub, scenario

DEBIANS = "".join(debian for debian, _ in grub._CHANGES["10_linux"])


class Generators(unittest.TestCase):
    def test_titles_root_and_initramfs_become_alpines(self):
        text = grub.alpine("10_linux", DEBIANS)
        self.assertIn("PRETTY_NAME", text)
        self.assertIn('"initramfs-${version}"', text)
        self.assertNotIn("GNU/Linux", text)
        self.assertNotIn("by-uuid", text)

    def test_a_generator_that_debian_changed_is_told(self):
        for text in (DEBIANS.replace("genkernel", "other"), DEBIANS + DEBIANS):
            with self.assertRaisesRegex(grub.Changed, "10_linux has changed"):
                grub.alpine("10_linux", text)

    def test_other_scripts_stay(self):
        self.assertEqual(grub.alpine("00_header", "set -e\n"), "set -e\n")


class Loader(unittest.TestCase):
    def load(self, host):
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "one.yaml").write_text(
                f"name: one\nabout: a test\nhost: {host}\nsteps: [{{run: 'true'}}]\n")
            return scenario.load_all(Path(place))["one"].host["loader"]

    def test_a_host_boots_by_extlinux_unless_it_says_otherwise(self):
        self.assertEqual(self.load("{binary: false}"), "extlinux")
        self.assertEqual(self.load("{loader: grub}"), "grub")

    def test_an_unknown_loader_is_refused(self):
        with self.assertRaisesRegex(scenario.Invalid, "no loader lilo; there are extlinux, grub"):
            self.load("{loader: lilo}")

    def test_each_loader_has_a_base_disk_of_its_own(self):
        repository = SimpleNamespace(store="packages")
        digests = {disk._digest(repository, "3.22.1", "2G", None, name, "") for name in disk.LOADERS}
        self.assertEqual(len(digests), len(disk.LOADERS))


if __name__ == "__main__":
    unittest.main()
