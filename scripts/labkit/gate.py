"""What stands between one machine and the registry: it can hold back what comes through, ask
for a login by leading to a registry that does, or let nothing through."""

import selectors
import socket
import time

from .listener import Listener

STATES = ("up", "down", "slow", "stuck", "login")

# Bytes a second in `slow`, for all connections together.
_SLOW = 1 << 20
# Bytes of one answer that still come in `stuck`: enough for manifests, not for a layer of the programs.
_STUCK = 1 << 20
_BLOCK = 1 << 14


class Gate(Listener):
    """Relays connections to `registry`; `port` on loopback."""

    def __init__(self, registry, state="up"):
        super().__init__()
        self._registry, self.state, self._open = registry, state, set()
        self._listen()

    def set(self, state):
        """Changes what it is like; connections that are open are cut."""
        if state == "login":
            self._registry.with_login()
        self.state = state
        self._cut()

    def stop(self):
        super().stop()
        self._cut()

    def _cut(self):
        with self._lock:
            for one in self._open:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _arguments(self):
        return (self.state,)

    def _serve(self, client, state):
        port = self._registry.with_login() if state == "login" else self._registry.port
        try:
            if state == "down":
                return
            with socket.create_connection(("127.0.0.1", port)) as server:
                with self._lock:
                    self._open |= {client, server}
                self._relay(client, server, state)
                with self._lock:
                    self._open -= {client, server}
        except OSError:
            pass
        finally:
            client.close()

    def _relay(self, client, server, state):
        came = 0
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    block = key.fileobj.recv(_BLOCK)
                    if not block:
                        return
                    key.data.sendall(block)
                    if key.fileobj is server:
                        came += len(block)
                        self._hold_back(ready, server, state, came, len(block))

    def _hold_back(self, ready, server, state, came, size):
        if state == "slow":
            with self._lock:
                time.sleep(size / _SLOW)
        elif state == "stuck" and came > _STUCK:
            ready.unregister(server)
