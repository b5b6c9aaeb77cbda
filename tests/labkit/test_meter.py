import socket
import threading
import time
import unittest

from support import REPOSITORY  # noqa: F401  (finds labkit)

from labkit.meter import Meter


class Counting(unittest.TestCase):
    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.peers = []
        threading.Thread(target=self._answer, daemon=True).start()
        self.meter = Meter(self.listener.getsockname()[1])
        self.addCleanup(self.meter.stop)

    def _answer(self):
        while True:
            try:
                peer, address = self.listener.accept()
            except OSError:
                return
            with peer:
                self.peers.append(address[1])
                # Answers only once the other side has said its last word.
                while peer.recv(1 << 16):
                    pass
                peer.sendall(b"x" * 300_000)

    def exchange(self, sent):
        with socket.create_connection(("127.0.0.1", self.meter.port), timeout=10) as link:
            link.sendall(sent)
            link.shutdown(socket.SHUT_WR)
            received = 0
            while block := link.recv(1 << 16):
                received += len(block)
        return received

    def counted(self, connections):
        end = time.monotonic() + 5
        while self.meter.count.received < 300_000 * connections and time.monotonic() < end:
            time.sleep(0.01)
        return self.meter.count

    def test_bytes_of_both_directions_count_as_the_machine_sees_them(self):
        self.assertEqual(self.exchange(b"ask"), 300_000)
        self.assertEqual(self.exchange(b"again"), 300_000)
        count = self.counted(2)
        self.assertEqual((count.connections, count.sent, count.received), (2, 8, 600_000))

    def test_a_reset_begins_anew(self):
        self.exchange(b"ask")
        self.counted(1)
        self.assertEqual(self.meter.reset().sent, 3)
        self.assertEqual((self.meter.count.sent, self.meter.sources), (0, set()))

    def test_the_server_knows_the_connection_by_its_source(self):
        self.exchange(b"ask")
        self.assertEqual(self.meter.sources, set(self.peers))


if __name__ == "__main__":
    unittest.main()
