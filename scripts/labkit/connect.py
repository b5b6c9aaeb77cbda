"""Joins standard input and output to a TCP port on loopback.

QEMU starts it once for each connection that the guest opens to a forwarded
address.
"""

import os
import select
import socket
import sys


def main(port):
    peer = socket.create_connection(("127.0.0.1", port))
    sources = {0: peer.fileno(), peer.fileno(): 1}
    while sources:
        ready, _, _ = select.select(list(sources), [], [])
        for source in ready:
            block = os.read(source, 1 << 16)
            if block:
                _write(sources[source], block)
                continue
            # The guest may have said its last word and still wait for the answer;
            # once the server has closed there is nothing left to wait for.
            if source != 0:
                return
            peer.shutdown(socket.SHUT_WR)
            del sources[source]


def _write(target, block):
    while block:
        block = block[os.write(target, block):]


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except OSError:
        sys.exit(1)
