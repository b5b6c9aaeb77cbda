"""scripts/tunnel-speed by itself, on this host's own loopback, and what `lab throughput` makes of its words."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from support import REPOSITORY

from labkit.throughput import Speed, table

SEND = """import socket, threading
listener = socket.create_server(("127.0.0.1", 0))
def take():
    taken, _ = listener.accept()
    while taken.recv(1 << 16): pass
thread = threading.Thread(target=take); thread.start()
with socket.create_connection(listener.getsockname()) as way: way.sendall(bytes(4_000_000))
thread.join()
import time; time.sleep(0.2)
"""


class TunnelSpeed(unittest.TestCase):
    def run_script(self, interface, *command):
        """As it runs on a server, but for the container: that is this process."""
        with tempfile.TemporaryDirectory() as place:
            docker = Path(place, "docker")
            docker.write_text(f"#!/bin/sh\necho {os.getpid()}\n")
            docker.chmod(0o755)
            env = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "AWG_INTERFACE": interface}
            return subprocess.run([REPOSITORY / "scripts/tunnel-speed", *command], text=True, capture_output=True, env=env)

    def test_what_has_passed_is_counted(self):
        ran = self.run_script("lo", sys.executable, "-c", SEND)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        seconds, received, sent, processors = ran.stdout.splitlines()
        self.assertGreaterEqual(float(seconds.split()[1]), 0.2)
        # Loopback receives what it sends.
        self.assertGreaterEqual(float(received.split()[1]), 4.0)
        self.assertGreaterEqual(float(sent.split()[1]), 4.0)
        self.assertEqual(int(processors.split()[6].rstrip(",")), os.cpu_count())
        self.assertGreater(Speed.read(ran.stdout).rate, 0)

    def test_an_interface_that_is_not_there_and_a_command_that_fails(self):
        ran = self.run_script("none0", "true")
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("has no none0", ran.stderr)
        self.assertEqual(self.run_script("lo", "sh", "-c", "exit 3").returncode, 3)


class Table(unittest.TestCase):
    def test_both_ways_of_what_passed_count(self):
        said = "seconds 2.00\nreceived 1.00 MB, 0.50 MB/s\nsent 9.00 MB, 4.50 MB/s\nprocessors 1.90 s, 95 % of 1, 190.00 ms/MB\n"
        self.assertEqual(Speed.read(said), Speed(rate=5.0, cost=190.0, busy=95.0))

    def test_medians_and_how_much_less(self):
        seen = {}
        for way in ("pull", "push"):
            seen["kernel", way] = [Speed(10, 80, 100), Speed(1, 800, 100), Speed(10, 80, 100)]
            seen["userspace", way] = [Speed(8, 100, 100)] * 3
        lines = table(seen)
        self.assertEqual(len(lines), 6)
        self.assertEqual(lines[2], "| to the peer | 10.00 MB/s | 8.00 MB/s | 1.25 times the rate | |")
        self.assertIn("| 80 ms | 100 ms | 20 % less | 10 to 30 % less |", lines[3])


if __name__ == "__main__":
    unittest.main()
