import json
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from support import REPOSITORY  # noqa: F401  (finds benchkit)

from benchkit import Problem, Row, catalog, idle, measure, mebibytes, seconds, table


class Table(unittest.TestCase):
    def test_a_goal_is_met_missed_or_not_there(self):
        rows = [Row("a", "1 s", "2 s", 2.0, 1.0), Row("b", "2 s", "1 s", 0.5, 1.0), Row("c", "1 s", "1 s", 0.999)]
        self.assertEqual([row.verdict for row in rows], ["met", "missed", "for scale"])
        self.assertEqual(Row("at the goal", "", "", 1.0, 1.0).verdict, "met")
        self.assertEqual(table(rows).splitlines()[2:], [
            "| a | 1 s | 2 s | 2.00 | 1 | met |",
            "| b | 2 s | 1 s | 0.50 | 1 | missed |",
            "| c | 1 s | 1 s | 1.00 |  | for scale |"])

    def test_units(self):
        self.assertEqual([seconds(0.00123), seconds(0.15), seconds(12.345)], ["1.23 ms", "150 ms", "12.35 s"])
        self.assertEqual(mebibytes(3 << 19), "1.5 MiB")


class Measuring(unittest.TestCase):
    def test_one_after_the_other(self):
        order = []
        taken = measure.interleaved(3, lambda: order.append("ours"), lambda: order.append("peer"))
        self.assertEqual(order, ["ours", "peer"] * 3)
        self.assertTrue(len(taken) == 2 and all(value >= 0 for value in taken))

    def test_another_end_than_the_wanted_one_is_no_measurement(self):
        self.assertEqual(measure.run("sh", "-c", "echo said; exit 5", code=5), "said\n")
        with self.assertRaisesRegex(Problem, "ended with 5, not 0:\nsaid"):
            measure.run("sh", "-c", "echo said; exit 5")

    def test_the_peak_is_the_command_s_own(self):
        small = measure.peak("true")
        large = measure.peak("sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1 2> /dev/null")
        self.assertLess(small, 8 << 20)
        self.assertGreater(large, 64 << 20)


class Catalog(unittest.TestCase):
    def test_linear_growth_is_the_peer(self):
        rows = catalog.compared((10, 100, 1000), (1.0, 2.0, 200.0))
        self.assertEqual([(row.ratio, row.verdict) for row in rows], [(5.0, "met"), (0.5, "missed")])

    def test_as_many_documents_as_releases_and_the_newest_in_the_index(self):
        documents = catalog.documents(1200)
        self.assertEqual(len(documents), 1201)
        listed = json.loads(documents["/v1/x86_64/index.json"])["releases"]
        self.assertEqual((len(listed), listed[0]["release"]), (1000, "6.12.1250-0-lts"))
        for one in listed:
            self.assertEqual(json.loads(documents[f"/v1/x86_64/{one['release']}.json"])["release"], one["release"])

    def test_a_signature_is_made_once_and_belongs_to_its_document(self):
        made = []
        site = catalog.Site({"/a.json": b"text"}, lambda text: made.append(text) or b"signed " + text)
        self.addCleanup(site.stop)
        get = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{site.port}{path}", timeout=10).read()
        self.assertEqual([get("/a.json"), get("/a.json.minisig"), get("/a.json.minisig")], 
                         [b"text", b"signed text", b"signed text"])
        self.assertEqual(made, [b"text"])
        for path in ("/b.json", "/b.json.minisig"):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                get(path)
            caught.exception.close()
            self.assertEqual(caught.exception.code, 404)


class Playbook(unittest.TestCase):
    def test_what_was_done_becomes_tasks_that_find_it_done(self):
        with tempfile.TemporaryDirectory() as place:
            root = Path(place, "root")
            (root / "etc").mkdir(parents=True)
            (root / "etc/a.conf").write_text("as it is")
            (root / "etc/a.conf").chmod(0o600)
            ids = ["write:/etc/a.conf", "write:/etc/gone", "packages:docker,kmod", "compose", "finish"]
            tasks = idle.playbook({"steps": [{"id": name} for name in ids]}, root, Path(place, "files"))
            copy, packages, container = tasks
            self.assertEqual(copy["ansible.builtin.copy"]["dest"], str(root / "etc/a.conf"))
            self.assertEqual(copy["ansible.builtin.copy"]["mode"], "0600")
            self.assertEqual(Path(copy["ansible.builtin.copy"]["src"]).read_text(), "as it is")
            self.assertEqual(packages["ansible.builtin.command"]["argv"][1:], ["search", "--exact", "--all", "docker", "kmod"])
            self.assertFalse(container["changed_when"])


if __name__ == "__main__":
    unittest.main()
