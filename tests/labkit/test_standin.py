import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401  (finds labkit)

from labkit import standin
from labkit.images import patched_quick
from labkit.material import Material

MARK = b"~Module signature appended~\n"


def signed(module, signature):
    info = b"\0" * 8 + len(signature).to_bytes(4, "big")
    return module + signature + info + MARK


class Names(unittest.TestCase):
    def test_a_renamed_program_keeps_its_length(self):
        program = b"\x7fELF wireguard rtnl-link-wireguard\0"
        self.assertEqual(len(standin.renamed(program)), len(program))
        self.assertIn(b"rtnl-link-amneziawg\0", standin.renamed(program))

    def test_a_program_without_the_name_is_refused(self):
        with self.assertRaises(standin.Failed):
            standin.renamed(b"\x7fELF")

    def test_quick_calls_awg_and_only_where_it_is_a_command(self):
        script = b"wireguard: cmd wg setconf x; $(wg show x); # wg-quick and awg show\n"
        self.assertEqual(
            patched_quick(script),
            b"amneziawg: cmd awg setconf x; $(awg show x); # wg-quick and awg show\n",
        )


class Signature(unittest.TestCase):
    def test_the_signature_goes_and_the_module_stays(self):
        self.assertEqual(standin.without_signature(signed(b"ELF body", b"s" * 300)), b"ELF body")

    def test_an_unsigned_module_is_left_alone(self):
        self.assertEqual(standin.without_signature(b"ELF body"), b"ELF body")

    def test_a_signature_longer_than_the_module_is_refused(self):
        broken = b"ELF" + b"\0" * 8 + (4000).to_bytes(4, "big") + MARK
        with self.assertRaises(standin.Failed):
            standin.without_signature(broken)


class Module(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        self.material = Material(self.home, self.home / "kernels")
        for kernel, release in (("6.12.51-0-lts", "6.12.51-0-lts"),
                                ("6.12.50-0-lts.modular", "6.12.50-0-lts")):
            path = self.material.kernels / kernel / "lib/modules" / release / standin._WIREGUARD
            path.parent.mkdir(parents=True)
            text = f"name=wireguard\0vermagic={release} SMP \0crc of {kernel}".encode()
            path.write_bytes(signed(text, b"s" * 40))

    def test_a_build_is_found_by_its_own_name(self):
        made = standin.module("6.12.50-0-lts.modular", self.material, self.home)
        self.assertEqual(made.name, "amneziawg.ko")
        self.assertEqual(
            made.read_bytes(),
            b"name=amneziawg\0vermagic=6.12.50-0-lts SMP \0crc of 6.12.50-0-lts.modular",
        )

    def test_a_patched_vermagic_changes_nothing_else(self):
        made = standin.patched_vermagic(
            "6.12.51-0-lts", "6.12.50-0-lts", self.material, self.home)
        self.assertEqual(
            made.read_bytes(),
            b"name=amneziawg\0vermagic=6.12.50-0-lts SMP \0crc of 6.12.51-0-lts",
        )

    def test_a_release_of_another_length_is_refused(self):
        with self.assertRaisesRegex(standin.Failed, "length"):
            standin.patched_vermagic("6.12.51-0-lts", "6.12.5-0-lts", self.material, self.home)


if __name__ == "__main__":
    unittest.main()
