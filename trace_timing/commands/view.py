"""`trace-timing view`: open a trace in Perfetto from this machine alone, or say how to."""

from __future__ import annotations

import functools
import threading
import webbrowser
from collections.abc import Callable
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import click

from trace_timing.errors import UsageError

#: The port that the Perfetto UI's content policy allows to be read from.
PORT = 9001
PERFETTO = "https://ui.perfetto.dev"
#: Samples named where one has to be chosen.
MOST_NAMES = 10


@click.command(short_help="Open a trace in Perfetto or the Chrome trace viewer.")
@click.argument("trace", type=click.Path(path_type=Path))
@click.argument("sample", required=False)
@click.option("--no-open", is_flag=True, help="Print how to load it; start nothing.")
@click.option("--wait", default=120, show_default=True, help="Seconds to wait for the viewer.")
@click.option("--port", default=PORT, show_default=True, help="Port on 127.0.0.1.")
def command(trace: Path, sample: str | None, no_open: bool, wait: int, port: int) -> int:
    """Open TRACE in the Perfetto UI, served once to this machine alone.

    TRACE is a trace file, or a capture directory followed by the id of a SAMPLE. The trace does
    not leave the machine: the viewer runs in the browser and reads it from 127.0.0.1. The server
    stops after the first whole read, or after --wait seconds.
    """
    trace = _trace_file(trace, sample)
    click.echo(f"by hand: open {PERFETTO} (or chrome://tracing) and drop {trace} on it")
    if no_open:
        return 0
    with one_shot(trace, port) as server:
        address = f"{PERFETTO}/#!/?url={quote(url_of(server, trace), safe='')}"
        click.echo(f"opening {address}")
        served = server.serve_once(wait, lambda: webbrowser.open(address))
    click.echo("served; the viewer has it" if served else f"nobody asked for it in {wait} s")
    return 0


def _trace_file(path: Path, sample: str | None) -> Path:
    """The file itself, or that of a sample of a capture.

    Raises:
        UsageError: there is no such file or sample, or only a compact store of it.
    """
    if path.is_file() and sample is None:
        if path.suffix == ".parquet":
            raise UsageError(
                f"{path} is a compact store",
                why="viewers read Kineto JSON",
                remedy="name the .json.gz beside it; capture with --keep json or both",
            )
        return path
    if not path.is_dir():
        raise UsageError(
            f"{path} is no {'capture directory' if sample else 'file or capture directory'}",
            why="view opens one trace",
            remedy="name a .json or .json.gz trace, or a capture directory and a sample's id",
        )
    return _trace_of_sample(path, sample)


def _trace_of_sample(folder: Path, sample: str | None) -> Path:
    from trace_timing.api.sources import find_inputs, kineto_file

    files = {
        s.sample_id: file for s in find_inputs([str(folder)]).sources if (file := kineto_file(s))
    }
    if sample is None and len(files) == 1:
        return next(iter(files.values()))
    if sample is None or sample not in files:
        names = ", ".join(list(files)[:MOST_NAMES]) or "none"
        more = f" and {len(files) - MOST_NAMES} more" if len(files) > MOST_NAMES else ""
        raise UsageError(
            f"{folder} has no sample {sample}" if sample else f"{folder} has several samples",
            why=f"samples with a trace that viewers read: {names}{more}",
            remedy=f"trace-timing view {folder} SAMPLE, with one of these",
        )
    return files[sample]


class OneShotServer(HTTPServer):
    """Serves one file on loopback until it was read once."""

    def __init__(self, trace: Path, port: int) -> None:
        self.trace = trace
        self.done = threading.Event()
        handler = functools.partial(_Handler, directory=str(trace.resolve().parent))
        super().__init__(("127.0.0.1", port), handler)

    def serve_once(self, wait_s: float, started: Callable[[], object] = lambda: None) -> bool:
        """Answer until the trace was read, or `wait_s` seconds are over; whether it was.

        Args:
            started: called once answers are given: a browser in a terminal returns only when it
                is closed.
        """
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        started()
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
