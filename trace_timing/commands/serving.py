"""Serve one trace on loopback, only to the viewer that has its address.

The Perfetto UI's content policy lets it read only from port 9001 of this machine, so every page in
the browser knows the port. The path is secret: it begins with random letters. Requests under
another host name (a page whose own name points to 127.0.0.1) or from another origin are refused
before the path is looked at.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

from trace_timing.errors import UsageError

#: The only port that the Perfetto UI's content policy allows.
PORT = 9001
PERFETTO = "https://ui.perfetto.dev"
_TOKEN_BYTES = 16


class OneShotServer(ThreadingHTTPServer):
    """Serves one file on loopback until it was read once, even if others hold connections open."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, trace: Path, port: int) -> None:
        #: The file itself: if the name is a link, later changes of the link have no effect.
        self.trace = trace.resolve(strict=True)
        self.done = threading.Event()
        self.path = f"/{secrets.token_urlsafe(_TOKEN_BYTES)}/{quote(trace.name)}"
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """URL of the trace while the server runs."""
        return f"http://127.0.0.1:{self.server_address[1]}{self.path}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Allowed values of the Host header."""
        return tuple(f"{name}:{self.server_address[1]}" for name in ("127.0.0.1", "localhost"))

    def serve_once(self, wait_s: float, started: Callable[[], object] = lambda: None) -> bool:
        """Serve until the trace was read or `wait_s` seconds have passed; returns whether it was.

        Ctrl-C ends it too, even with open connections.

        Args:
            started: called once the server answers; it may block, as a browser in a terminal does.
        """
        thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        thread.start()
        try:
            started()
            return self.done.wait(wait_s)
        finally:
            self.shutdown()
            thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing when a viewer closes its connection."""


def one_shot(trace: Path, port: int) -> OneShotServer:
    """A server for `trace` on 127.0.0.1.

    Raises:
        UsageError: the port is taken, or the file cannot be read.
    """
    try:
        with trace.open("rb"):
            pass
    except OSError as error:
        raise UsageError(
            f"{trace} cannot be read", why=error.strerror or str(error), remedy="check the file"
        ) from error
    try:
        return OneShotServer(trace, port)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"port {port} cannot be used",
            why=getattr(error, "strerror", None) or str(error),
            remedy="end the other viewer, or pass --port",
        ) from error


class _Handler(BaseHTTPRequestHandler):
    """Answers only requests for the one file, from the Perfetto UI's origin."""

    server: OneShotServer
    server_version = "trace-timing"
    sys_version = ""
    #: Seconds until a silent connection is closed.
    timeout = 30

    def do_GET(self) -> None:
        """Send the trace, or a refusal."""
        if not self._allowed():
            return
        with self.server.trace.open("rb") as file:
            self._head()
            shutil.copyfileobj(file, self.wfile)
        self.wfile.flush()
        self.server.done.set()

    def do_HEAD(self) -> None:
        """Send GET's headers without the body."""
        if self._allowed():
            self._head()

    def do_OPTIONS(self) -> None:
        """Answer a browser's preflight request for a public page that reads from this machine."""
        if self._allowed():
            self.send_response(204)
            self.send_header("Access-Control-Allow-Methods", "GET, HEAD")
            self.send_header("Access-Control-Allow-Private-Network", "true")
            self.end_headers()

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(self.server.trace.stat().st_size))
        self.end_headers()

    def _allowed(self) -> bool:
        """Whether to answer; if not, sends the refusal."""
        if self.headers.get("Host", "") not in self.server.hosts:
            self.send_error(403, "this server is for 127.0.0.1 alone")
            return False
        origin = self.headers.get("Origin")
        if origin is not None and origin != PERFETTO:
            self.send_error(403, "this server is for the Perfetto UI alone")
            return False
        asked = urlsplit(self.path).path
        if not secrets.compare_digest(asked.encode(), self.server.path.encode()):
            self.send_error(404)
            return False
        return True

    def end_headers(self) -> None:
        """Add headers that let the viewer's origin read the file and forbid caching."""
        self.send_header("Access-Control-Allow-Origin", PERFETTO)
        self.send_header("Vary", "Origin")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the command prints what matters."""
