"""`trace-timing view`: open a trace in Perfetto from this machine alone, or say how to."""

from __future__ import annotations

import functools
import threading
import webbrowser
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import click

from trace_timing.errors import UsageError

#: The port that the Perfetto UI's content policy allows to be read from.
PORT = 9001
PERFETTO = "https://ui.perfetto.dev"


@click.command(short_help="Open a trace in Perfetto or the Chrome trace viewer.")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--no-open", is_flag=True, help="Print how to load it; start nothing.")
@click.option("--wait", default=120, show_default=True, help="Seconds to wait for the viewer.")
@click.option("--port", default=PORT, show_default=True, help="Port on 127.0.0.1.")
def command(trace: Path, no_open: bool, wait: int, port: int) -> int:
    """Open TRACE in the Perfetto UI, served once to this machine alone.

    The trace does not leave the machine: the viewer runs in the browser and reads it from
    127.0.0.1. The server stops after the first whole read, or after --wait seconds.
    """
    if not trace.is_file():
        raise UsageError(
            f"{trace} is no file",
            why="view opens one trace",
            remedy="name a .json or .json.gz trace, for example one below traces/",
        )
    click.echo(f"by hand: open {PERFETTO} (or chrome://tracing) and drop {trace} on it")
    if no_open:
        return 0
    with one_shot(trace, port) as server:
        address = f"{PERFETTO}/#!/?url={quote(url_of(server, trace), safe='')}"
        click.echo(f"opening {address}")
        webbrowser.open(address)
        served = server.serve_once(wait)
    click.echo("served; the viewer has it" if served else f"nobody asked for it in {wait} s")
    return 0


class OneShotServer(HTTPServer):
    """Serves one file on loopback until it was read once."""

    def __init__(self, trace: Path, port: int) -> None:
        self.trace = trace
        self.done = threading.Event()
        handler = functools.partial(_Handler, directory=str(trace.resolve().parent))
        super().__init__(("127.0.0.1", port), handler)

    def serve_once(self, wait_s: float) -> bool:
        """Answer until the trace was read, or `wait_s` seconds are over; whether it was."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        served = self.done.wait(wait_s)
        self.shutdown()
        thread.join()
        return served


def one_shot(trace: Path, port: int) -> OneShotServer:
    """A server for `trace` on 127.0.0.1.

    Raises:
        UsageError: the port is taken.
    """
    try:
        return OneShotServer(trace, port)
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used",
            why=error.strerror or str(error),
            remedy="end the other viewer, or pass --port",
        ) from error


def url_of(server: OneShotServer, trace: Path) -> str:
    """Where the trace is while the server runs."""
    return f"http://127.0.0.1:{server.server_address[1]}/{quote(trace.name)}"


class _Handler(SimpleHTTPRequestHandler):
    """Gives out the one file, to the Perfetto UI's origin, and nothing else."""

    server: OneShotServer

    def do_GET(self) -> None:
        """The trace, or 404 for any other path."""
        if self.path.lstrip("/") != quote(self.server.trace.name):
            self.send_error(404)
            return
        super().do_GET()
        self.server.done.set()

    def do_HEAD(self) -> None:
        """As GET without the body: the trace alone is here."""
        if self.path.lstrip("/") != quote(self.server.trace.name):
            self.send_error(404)
            return
        super().do_HEAD()

    def end_headers(self) -> None:
        """Let the viewer's origin read it, and nobody keep it."""
        self.send_header("Access-Control-Allow-Origin", PERFETTO)
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the command says what matters."""
