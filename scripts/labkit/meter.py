"""What stands between one machine and a server, and counts what passes."""

import selectors
import socket
from dataclasses import dataclass

from .listener import Listener

_BLOCK = 1 << 16


@dataclass
class Count:
    """Connections, and bytes as TCP carries them: with TLS, without headers of packets."""

    connections: int = 0
    sent: int = 0
    received: int = 0


class Meter(Listener):
    """Relays connections to port `target` on loopback; the machine is led to `port` of its own, or to
    `address`. Sent and received are meant as the machine sees them."""

    def __init__(self, target, address=("127.0.0.1", 0)):
        super().__init__(address)
        self._target = target
        self.count, self.sources = Count(), set()
        self._listen()

    def reset(self):
        """Starts to count anew; the count until now."""
        with self._lock:
            before, self.count = self.count, Count()
            self.sources = set()
        return before

    def _serve(self, client):
        try:
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                with self._lock:
                    self.count.connections += 1
                    # By this port the server's own log knows the connection.
                    self.sources.add(server.getsockname()[1])
                self._relay(client, server)
        except OSError:
            pass

    def _relay(self, client, server):
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while ready.get_map():
                for key, _ in ready.select():
                    block = key.fileobj.recv(_BLOCK)
                    if not block:
                        ready.unregister(key.fileobj)
                        key.data.shutdown(socket.SHUT_WR)
                        continue
                    key.data.sendall(block)
                    with self._lock:
                        if key.fileobj is client:
                            self.count.sent += len(block)
                        else:
                            self.count.received += len(block)
