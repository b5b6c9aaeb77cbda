"""A directory over HTTPS on loopback, with what caches need: ETag, 304, ranges."""

import hashlib
import http.server
import shutil
import ssl
import threading
import urllib.parse
from pathlib import Path


class Server:
    """Serves what lies below `directory`, which may be exchanged at any time. Every request
    is kept in `requests` as (path, status)."""

    def __init__(self, directory, certificate, key):
        self.directory = Path(directory)
        self.requests = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self):
                server._answer(self)

            def log_message(self, *_):
                pass

            def setup(self):
                # In the thread of the connection: nobody waits for another's handshake.
                self.request.settimeout(self.timeout)
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def finish(self):
                super().finish()
                self.request.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, request):
        path = self._find(request.path)
        if path is None:
            self._finish(request, 404, {"Content-Length": "0"})
            return
        content = path.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Last-Modified": request.date_time_string(path.stat().st_mtime)}
        if request.headers.get("If-None-Match") == tag:
            self._finish(request, 304, headers)
            return
        start = _start(request.headers.get("Range"), len(content))
        if start and request.headers.get("If-Range", tag) == tag:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._finish(request, 206, headers, content[start:])
            return
        self._finish(request, 200, headers, content)

    def _finish(self, request, status, headers, content=b""):
        self.requests.append((request.path, status))
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if content:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        try:
            request.wfile.write(content)
        except OSError:
            request.close_connection = True

    def size(self, path):
        """Bytes of what is served there; 0 where nothing is."""
        found = self._find(path)
        return found.stat().st_size if found else 0

    def _find(self, path):
        parts = urllib.parse.unquote(urllib.parse.urlsplit(path).path).strip("/").split("/")
        found = self.directory.joinpath(*parts)
        return found if ".." not in parts and found.is_file() else None


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):
        """A guest that trusts nobody ends its connection; that is no fault of the server."""


def _start(wanted, size):
    """Where `bytes=N-` begins, or None."""
    unit, _, span = (wanted or "").partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or last or not first.isdigit() or int(first) >= size:
        return None
    return int(first)


def exchange(directory, target):
    """Puts a directory in the place of another; what was there goes."""
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    directory.rename(target)
    shutil.rmtree(old, ignore_errors=True)
