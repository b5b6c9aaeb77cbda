import json
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import REPOSITORY

from labkit.ansible import Recap, Said
from labkit.fleet import _ANSWER

RECAP = """\
TASK [x] ****
fleet-9 : ok=1    changed=1    unreachable=0

PLAY RECAP *********************************************************************
fleet-1                    : ok=4    changed=1    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0
vpn-2.example.org          : ok=4    changed=0    unreachable=1    failed=0    skipped=1    rescued=0    ignored=0
"""
LINE = ('time="2026-01-01T00:00:00Z" level=info msg="response completed" go.version=go1.24.4 http.request.host=ghcr.io '
        'http.request.method=GET http.request.remoteaddr="127.0.0.1:32812" http.request.uri="/v2/a/blobs/sha256:38" '
        'http.request.useragent="docker/26" http.response.status=200 http.response.written=2826532\n')


class Reading(unittest.TestCase):
    def test_a_recap_names_the_hosts_that_were_reached(self):
        self.assertEqual(Said(2, RECAP).recap, {
            "fleet-1": Recap(4, 1, 0, 1), "vpn-2.example.org": Recap(4, 0, 1, 0)})

    def test_an_answer_of_the_registry_is_told_by_port_path_and_size(self):
        plain = LINE.replace('uri="/v2/a/blobs/sha256:38"', "uri=/v2/").replace("written=2826532", "written=2")
        other = LINE.replace("response completed", "authorized request")
        self.assertEqual(_ANSWER.findall(LINE + other + plain), [
            ("32812", "/v2/a/blobs/sha256:38", "2826532"), ("32812", "/v2/", "2")])


class Costs(unittest.TestCase):
    def cost(self, *words):
        host = {"mirror": {"requests": 20, "received": 50_001_000, "payload": 50_000_000},
                "registry": {"requests": 9, "received": 10_005_000, "payload": 10_000_000},
                "catalog": {"requests": 3, "received": 9_000, "payload": 1_000}}
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "traffic.json"
            path.write_text(json.dumps({"hosts": 1, "install": [host], "again": [host]}))
            done = subprocess.run([REPOSITORY / "scripts/fleet-cost", path, *words], text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_the_measured_figures_are_multiplied(self):
        text = self.cost("--hosts", "1000", "--hours", "1")
        self.assertIn("| registry | 9, 10 MB | 9,000 requests (2.5/s), 10 GB (2.78 MB/s) |", text)

    def test_a_real_size_takes_the_place_of_the_stand_ins(self):
        text = self.cost("--hosts", "10", "--image", "100", "--packages", "200")
        first, second = text.split("Second run")
        self.assertIn("| registry | 9, 100 MB | 90 requests", first)
        self.assertIn("| mirror | 20, 200 MB |", first)
        self.assertIn("| registry | 9, 10 MB |", second)


if __name__ == "__main__":
    unittest.main()
