import json
import ssl
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

from support import lab_cache

from labkit import catalog, debs, minisign, registry, tls

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
DOCUMENT = {"kind": "index", "serial": 7, "issued": "2026-02-01T00:00:00Z", "expires": "2026-06-01T00:00:00Z"}


class States(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.tree = Path(home.name)
        self.index = self.tree / "v1" / catalog.ARCHITECTURE / "index.json"
        self.object = self.tree / "objects" / "aa" / "module"
        for path, content in ((self.index, json.dumps(DOCUMENT)), (self.object, "a module")):
            path.parent.mkdir(parents=True)
            path.write_text(content)
        self.signed = []

    def spoiled(self, state):
        catalog.spoil(self.tree, state, self.signed.append, NOW)
        return json.loads(self.index.read_text())

    def test_a_good_one_stays_as_it_is(self):
        self.assertEqual(self.spoiled("good"), DOCUMENT)
        self.assertEqual(self.signed, [])

    def test_a_tampered_one_keeps_its_signature(self):
        self.assertNotEqual(self.spoiled("tampered"), DOCUMENT)
        self.assertEqual(self.signed, [])

    def test_tampered_modules_leave_the_documents_alone(self):
        self.assertEqual(self.spoiled("tampered-module"), DOCUMENT)
        self.assertNotEqual(self.object.read_text(), "a module")
        self.assertEqual(self.object.stat().st_size, len("a module"))

    def test_an_expired_one_is_signed_and_over(self):
        document = self.spoiled("expired")
        self.assertLess(document["issued"], document["expires"])
        self.assertLess(document["expires"], NOW.strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.assertEqual(self.signed, [self.index])

    def test_an_older_one_has_a_lower_number(self):
        self.assertEqual(self.spoiled("rolled-back")["serial"], 6)
        self.assertEqual(self.signed, [self.index])

    def test_another_key_changes_the_signature_alone(self):
        self.assertEqual(self.spoiled("wrong-key"), DOCUMENT)
        self.assertEqual(self.signed, [self.index])

    def test_a_build_of_a_kernel_has_its_release(self):
        self.assertEqual(catalog.release_of("6.12.50-0-lts.modular"), "6.12.50-0-lts")
        self.assertEqual(catalog.release_of("6.12.51-0-lts"), "6.12.51-0-lts")


class Served(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        self.files = self.home / "files"
        self.files.mkdir()
        (self.files / "index.json").write_text("0123456789")
        (self.home / "secret").write_text("not served")
        self.server = tls.Server(self.files, *registry.server_cert(self.home))
        self.addCleanup(self.server.stop)
        self.trust = ssl.create_default_context(cafile=str(registry.ca_cert(self.home)))

    def get(self, path, **headers):
        request = urllib.request.Request(f"https://localhost:{self.server.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.trust) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, b"", error.headers

    def test_an_unchanged_file_is_not_sent_again(self):
        status, body, headers = self.get("/index.json")
        self.assertEqual((status, body), (200, b"0123456789"))
        self.assertEqual(self.get("/index.json", **{"If-None-Match": headers["ETag"]})[0], 304)
        (self.files / "index.json").write_text("changed")
        self.assertEqual(self.get("/index.json", **{"If-None-Match": headers["ETag"]})[:2], (200, b"changed"))
        self.assertEqual([status for _, status in self.server.requests], [200, 304, 200])

    def test_a_download_goes_on(self):
        tag = self.get("/index.json")[2]["ETag"]
        self.assertEqual(self.get("/index.json", Range="bytes=4-")[:2], (206, b"456789"))
        other = self.get("/index.json", **{"Range": "bytes=4-", "If-Range": '"other"'})
        self.assertEqual(other[:2], (200, b"0123456789"))
        same = self.get("/index.json", **{"Range": "bytes=4-", "If-Range": tag})
        self.assertEqual(same[0], 206)

    def test_nothing_beside_the_directory_is_served(self):
        for path in ("/../secret", "/%2e%2e/secret", "/nothing", "/"):
            self.assertEqual(self.get(path)[0], 404, path)

    def test_the_directory_can_be_exchanged(self):
        new = self.home / "new"
        new.mkdir()
        (new / "index.json").write_text("new")
        tls.exchange(new, self.files)
        self.assertEqual(self.get("/index.json")[1], b"new")
        self.assertEqual(sorted(path.name for path in self.home.iterdir() if path.name.startswith("files")), ["files"])


class Signatures(unittest.TestCase):
    def test_made_and_checked_by_the_real_program(self):
        try:
            program = minisign.program(lab_cache())
        except debs.Unavailable as error:
            self.skipTest(f"minisign cannot be had: {error}")
        with tempfile.TemporaryDirectory() as home:
            document = Path(home) / "index.json"
            document.write_text("{}")
            keys = [minisign.key(lab_cache(), name) for name in ("catalog", "other")]
            minisign.sign(lab_cache(), keys[0], document)
            for key, holds in zip(keys, (True, False)):
                self.assertRegex(key.text, "^RW[A-Za-z0-9+/]{54}$")
                check = [program, "-V", "-q", "-P", key.text, "-m", document]
                self.assertEqual(subprocess.run(check, capture_output=True).returncode == 0, holds)


if __name__ == "__main__":
    unittest.main()
