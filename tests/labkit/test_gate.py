import base64
import json
import socket
import ssl
import time
import unittest
import urllib.error
import urllib.request

from support import lab_cache

from labkit import debs, gate, images, material, registry, variants

ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


class Guarding(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cache = lab_cache()
        try:
            cls.registry = registry.start(cls.cache, material.find(cls.cache))
        except (debs.Unavailable, material.Unavailable) as error:
            raise unittest.SkipTest(f"what the registry needs cannot be had: {error}") from None
        cls.addClassCleanup(cls.registry.stop)

    def setUp(self):
        self.gate = gate.Gate(self.registry)
        self.addCleanup(self.gate.stop)

    def get(self, path, login=None, timeout=10):
        trust = ssl.create_default_context(cafile=str(registry.ca_cert(self.cache)))
        request = urllib.request.Request(
            f"https://localhost:{self.gate.port}/v2/{path}", headers={"Accept": ACCEPT})
        if login:
            request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        with urllib.request.urlopen(request, timeout=timeout, context=trust) as answer:
            return answer.read()

    def largest(self):
        repository, tag = images.UPSTREAM.rsplit(":", 1)
        index = json.loads(self.get(f"{repository}/manifests/{tag}"))
        manifest = json.loads(self.get(f"{repository}/manifests/{index['manifests'][0]['digest']}"))
        layer = max(manifest["layers"], key=lambda layer: layer["size"])
        return f"{repository}/blobs/{layer['digest']}", layer["size"]

    def test_up_and_down(self):
        self.assertEqual(self.get(""), b"{}")
        self.gate.set("down")
        with self.assertRaises((urllib.error.URLError, OSError)):
            self.get("")
        self.gate.set("up")
        self.assertEqual(self.get(""), b"{}")

    def test_a_login(self):
        self.gate.set("login")
        for login in (None, f"{registry.USER}:wrong", "somebody:" + registry.PASSWORD):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.get("", login)
            self.assertEqual(caught.exception.code, 401)
            caught.exception.close()
        right = f"{registry.USER}:{registry.PASSWORD}"
        repository, tag = images.UPSTREAM.rsplit(":", 1)
        self.assertIn(b"manifests", self.get(f"{repository}/manifests/{tag}", right))
        # Nobody else is asked.
        self.gate.set("up")
        self.assertEqual(self.get(""), b"{}")

    def test_slow_and_stuck(self):
        blob, size = self.largest()
        self.gate.set("slow")
        began = time.monotonic()
        self.assertEqual(len(self.get(blob)), size)
        self.assertGreater(time.monotonic() - began, 0.8 * size / (1 << 20))
        self.gate.set("stuck")
        self.assertGreater(size, 1 << 20)
        with self.assertRaises((socket.timeout, OSError)):
            self.get(blob, timeout=3)

    def test_images_that_say_something_else_of_themselves(self):
        def image(reference):
            repository, tag = reference.rsplit(":", 1)
            entry = json.loads(self.get(f"{repository}/manifests/{tag}"))["manifests"][0]
            manifest = json.loads(self.get(f"{repository}/manifests/{entry['digest']}"))
            for layer in manifest["layers"]:
                self.assertEqual(len(self.get(f"{repository}/blobs/{layer['digest']}")), layer["size"])
            return entry["platform"], json.loads(self.get(f"{repository}/blobs/{manifest['config']['digest']}"))

        platform, config = image(variants.ARM64)
        self.assertEqual((platform["architecture"], config["architecture"]), ("arm64", "arm64"))
        platform, config = image(variants.NEWER)
        self.assertEqual((platform["architecture"], config["architecture"]), ("amd64", "amd64"))
        self.assertEqual(config["config"]["Labels"]["org.opencontainers.image.version"], "16.0.1")


if __name__ == "__main__":
    unittest.main()
