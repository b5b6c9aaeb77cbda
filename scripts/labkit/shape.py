"""A link like that of a small server: so many bits a second for all connections together, and so long a way.

Every block comes later by the way's delay and by the time that all blocks before it have taken. Slow start and loss are
not played.
"""

import queue
import socket
import threading
import time

from .listener import Listener

_BLOCK = 1 << 14
# Blocks on their way in one direction of a connection: more than rate times delay, or it would be the limit.
_IN_FLIGHT = 128


class Link:
    """What all connections of one machine share; `rate` in bits a second, `delay` in seconds, there and back."""

    def __init__(self, rate, delay):
        self._seconds_a_byte, self.way = 8 / rate, delay / 2
        self._free, self._lock = 0.0, threading.Lock()

    def arrival(self, size):
        """When a block is there that is sent now."""
        with self._lock:
            self._free = max(self._free, time.monotonic()) + size * self._seconds_a_byte
            return self._free + self.way


class Shaped(Listener):
    """Relays connections to `target`, a port on loopback, over a link."""

    def __init__(self, target, down, up):
        super().__init__()
        self._target, self._down, self._up = target, down, up
        self._listen()

    def _serve(self, client):
        try:
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                # A connection that is made has been there and back.
                time.sleep(self._up.way + self._down.way)
                to_server = threading.Thread(target=_carry, args=(client, server, self._up), daemon=True)
                to_server.start()
                _carry(server, client, self._down)
                to_server.join()
        except OSError:
            pass


def shaped(ports, rate, delay):
    """Puts all of a machine's ways, `ports` as `Machine` has them, on one link; what is to be stopped in the end."""
    down, up = Link(rate, delay), Link(rate, delay)
    relays = {address: Shaped(port, down, up) for address, port in ports.items()}
    ports.update((address, relay.port) for address, relay in relays.items())
    return list(relays.values())


def _carry(source, sink, link):
    under_way = queue.Queue(_IN_FLIGHT)
    threading.Thread(target=_deliver, args=(under_way, sink), daemon=True).start()
    try:
        while block := source.recv(_BLOCK):
            under_way.put((link.arrival(len(block)), block))
    except OSError:
        pass
    delivered = threading.Event()
    under_way.put((time.monotonic() + link.way, delivered))
    delivered.wait(60)


def _deliver(under_way, sink):
    broken = False
    while True:
        due, block = under_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        if isinstance(block, threading.Event):
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            block.set()
            return
        try:
            # Whoever has gone away gets no more; the rest is taken off the link all the same.
            if not broken:
                sink.sendall(block)
        except OSError:
            broken = True
