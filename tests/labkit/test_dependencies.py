import json
import re
import subprocess
import unittest

from support import REPOSITORY

LIST = REPOSITORY / "scripts/dependencies.md"
# Crates whose name in the sources is not that of the package.
FEATURE_ONLY = {"rust-embed"}  # no source names it: it changes how another dependency uses it
NAMES = {"rustls-webpki": "webpki"}


def asked_for():
    """What Cargo.toml names, by kind: `None` for the program, `dev` for the tests."""
    command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--offline"]
    read = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    found = {}
    for dependency in json.loads(read.stdout)["packages"][0]["dependencies"]:
        found.setdefault(dependency["kind"], []).append(dependency["name"])
    return found


def explained():
    """The tables: the program's, the tests'. Crate -> reason."""
    parts = LIST.read_text().split("\n## ")[1:]
    row = re.compile(r"^\| ([a-z0-9_-]+) \| (.*\S) \|$", re.M)
    return [{name: reason for name, reason in row.findall(part) if name != "crate"} for part in parts]


class Dependencies(unittest.TestCase):
    def setUp(self):
        self.asked, (self.program, self.tests) = asked_for(), explained()

    def test_each_has_a_reason_and_no_reason_is_left_over(self):
        self.assertEqual(sorted(self.asked.pop(None)), sorted(self.program))
        self.assertEqual(sorted(self.asked.pop("dev")), sorted(self.tests))
        self.assertEqual(self.asked, {}, "a kind of dependency without a table")

    def test_each_is_used(self):
        read = {top: "".join(path.read_text() for path in sorted((REPOSITORY / top).rglob("*.rs"))) for top in ("src", "tests")}
        for names, text in ((self.program, read["src"]), (self.tests, read["src"] + read["tests"])):
            for name in set(names) - FEATURE_ONLY:
                word = NAMES.get(name, name.replace("-", "_"))
                self.assertRegex(text, rf"(?<![\w.]){word}::", f"{name} is in Cargo.toml and in no source")


if __name__ == "__main__":
    unittest.main()
