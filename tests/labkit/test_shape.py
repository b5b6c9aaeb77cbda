"""The link that installations are timed over: never faster than it should be, and nothing is lost on it."""

import hashlib
import socket
import threading
import time
import unittest

from support import REPOSITORY  # noqa: F401  (finds labkit)

from labkit.listener import Listener
from labkit.shape import Link, Shaped, shaped


class Echo(Listener):
    """Sends back what comes, and ends with its client."""

    def __init__(self):
        super().__init__()
        self._listen()

    def _serve(self, client):
        with client:
            while block := client.recv(1 << 16):
                client.sendall(block)


def there_and_back(port, content):
    """What comes back of `content`, and after how many seconds."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as client:
        def send():
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        got = bytearray()
        while block := client.recv(1 << 16):
            got += block
    return bytes(got), time.monotonic() - began


class TheLink(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.addCleanup(self.echo.stop)

    def shaped(self, rate, delay):
        made = Shaped(self.echo.port, Link(rate, delay), Link(1e9, delay))
        self.addCleanup(made.stop)
        return made

    def test_a_byte_takes_the_way_there_and_back_twice(self):
        # Once for the connection, once for itself.
        got, seconds = there_and_back(self.shaped(1e9, 0.1).port, b"x")
        self.assertEqual(got, b"x")
        self.assertGreaterEqual(seconds, 0.2)

    def test_connections_share_the_rate(self):
        content = bytes(range(256)) * 1000
        shaped = self.shaped(8e6, 0)
        results = []
        began = time.monotonic()
        threads = [threading.Thread(target=lambda: results.append(there_and_back(shaped.port, content))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Two times 256,000 bytes at a million a second.
        self.assertGreaterEqual(time.monotonic() - began, 0.5)
        digest = hashlib.sha256(content).digest()
        self.assertEqual([hashlib.sha256(got).digest() for got, _ in results], [digest, digest])

    def test_every_way_of_a_machine_leads_over_the_one_link(self):
        other = Echo()
        self.addCleanup(other.stop)
        ports = {"192.0.2.1:80": self.echo.port, "192.0.2.2:443": other.port}
        before = dict(ports)
        for relay in shaped(ports, 8e6, 0):
            self.addCleanup(relay.stop)
        self.assertEqual(ports.keys(), before.keys())
        self.assertFalse(set(ports.values()) & set(before.values()))
        content = bytes(250_000)
        began = time.monotonic()
        results = []
        threads = [threading.Thread(target=lambda port=port: results.append(there_and_back(port, content)[0]))
                   for port in ports.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [content, content])
        # Together 500,000 bytes at a million a second.
        self.assertGreaterEqual(time.monotonic() - began, 0.5)


if __name__ == "__main__":
    unittest.main()
