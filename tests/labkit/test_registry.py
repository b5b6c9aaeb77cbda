import hashlib
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from unittest import mock

from support import lab_cache

from labkit import debs, images, material, registry

ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cache = lab_cache()
        try:
            cls.material = material.find(cls.cache)
            cls.registry = registry.start(cls.cache, cls.material)
        except (debs.Unavailable, material.Unavailable) as error:
            raise unittest.SkipTest(f"what the registry needs cannot be had: {error}") from None
        cls.addClassCleanup(cls.registry.stop)

    def get(self, path, host="localhost"):
        trust = ssl.create_default_context(cafile=str(registry.ca_cert(self.cache)))
        request = urllib.request.Request(
            f"https://{host}:{self.registry.port}/v2/{path}", headers={"Accept": ACCEPT})
        with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
            return answer.read(), answer.headers

    def test_every_blob_of_an_image_is_served_with_its_digest(self):
        for reference in (images.UPSTREAM, images.OLDER, *images.WITH_MODULE):
            repository, tag = reference.rsplit(":", 1)
            index, headers = self.get(f"{repository}/manifests/{tag}")
            self.assertEqual(
                headers["Docker-Content-Digest"], f"sha256:{hashlib.sha256(index).hexdigest()}")
            entry = json.loads(index)["manifests"][0]
            manifest = json.loads(self.get(f"{repository}/manifests/{entry['digest']}")[0])
            for blob in (manifest["config"], *manifest["layers"]):
                content, _ = self.get(f"{repository}/blobs/{blob['digest']}")
                self.assertEqual(len(content), blob["size"])
                self.assertEqual(f"sha256:{hashlib.sha256(content).hexdigest()}", blob["digest"])

    def test_an_unknown_tag_is_not_found(self):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.get("wg-easy/wg-easy/manifests/14")
        self.assertEqual(caught.exception.code, 404)
        caught.exception.close()

    def test_the_certificate_holds_for_the_names_of_the_guest(self):
        certificate = registry.ca_cert(self.cache).with_name("server.crt")
        for kind, name in (("-checkhost", "ghcr.io"), ("-checkhost", "registry.lab"),
                           ("-checkhost", "modules.lab"), ("-checkip", "10.0.2.102"),
                           ("-checkip", "10.0.2.100"), ("-checkip", "127.0.0.1")):
            said = subprocess.run(
                ["openssl", "x509", "-noout", kind, name, "-in", certificate],
                capture_output=True, text=True).stdout
            self.assertIn("does match", said)

    def test_without_the_authority_nobody_is_trusted(self):
        with self.assertRaisesRegex(urllib.error.URLError, "CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"https://localhost:{self.registry.port}/v2/", timeout=10)

    def test_down_and_up_again_on_the_same_port(self):
        port = self.registry.port
        self.registry.stop_serving()
        with self.assertRaises(urllib.error.URLError):
            self.get("_catalog")
        self.registry.launch()
        self.assertEqual(self.registry.port, port)
        self.assertIn(b"wg-easy/wg-easy", self.get("_catalog")[0])

    def test_it_does_not_outlive_a_killed_lab(self):
        script = (
            f"import sys, time; sys.path[:0] = {sys.path!r}\n"
            "from pathlib import Path\nfrom labkit import material, registry\n"
            f"cache = Path({str(self.cache)!r})\n"
            "print(registry.start(cache, material.find(cache)).port, flush=True)\n"
            "time.sleep(60)\n")
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as lab:
            port = int(lab.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                lab.kill()
        end = time.monotonic() + 10
        with self.assertRaises(ConnectionRefusedError):
            while time.monotonic() < end:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                time.sleep(0.1)
        left = self.cache / "registry" / f"run-{lab.pid}-x"
        left.mkdir()
        registry.start(self.cache, self.material).stop()
        self.assertEqual(list(left.parent.glob(f"run-{lab.pid}-*")), [])


class Authority(unittest.TestCase):
    def test_kept_while_valid_and_renewed_before_it_ends(self):
        with tempfile.TemporaryDirectory() as home:
            first = registry.ca_cert(home).read_bytes()
            self.assertEqual(registry.ca_cert(home).read_bytes(), first)
            server = Path(home) / "authority" / "server.crt"
            with mock.patch.object(registry, "NAMES", (*registry.NAMES, "new.lab")):
                before = server.read_bytes()
                self.assertEqual(registry.ca_cert(home).read_bytes(), first)
                self.assertNotEqual(server.read_bytes(), before)
            server.write_text("broken")
            self.assertNotEqual(registry.ca_cert(home).read_bytes(), first)


if __name__ == "__main__":
    unittest.main()
