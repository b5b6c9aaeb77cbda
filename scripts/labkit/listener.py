"""A port that leads somewhere else; on loopback, unless another address is wanted."""

import socket
import threading


class Listener:
    """Serves every connection to `port` in a thread of its own, by `_serve`."""

    def __init__(self, address=("127.0.0.1", 0)):
        self._lock = threading.Lock()
        self._listener = socket.create_server(address)
        self.port = self._listener.getsockname()[1]

    def _listen(self):
        """To be called last: connections come from now on."""
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        # A listener that another thread waits on is not woken by close alone.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, *self._arguments()), daemon=True).start()

    def _arguments(self):
        """What is true as a connection comes, and counts for all of it."""
        return ()

    def _serve(self, client, *arguments):
        raise NotImplementedError
