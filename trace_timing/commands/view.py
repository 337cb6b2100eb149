"""`trace-timing view`: open a local trace in Perfetto, or print how to."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from urllib.parse import quote

import click

from trace_timing.commands.help_page import Command
from trace_timing.commands.printing import say
from trace_timing.commands.serving import PERFETTO, PORT, one_shot
from trace_timing.errors import UsageError, did_you_mean

#: Most samples named where one has to be chosen.
MOST_NAMES = 10


GROUPS = {"The viewer": ("no_open", "wait", "port")}
EXAMPLES = ("traces/ SAMPLE", "trace.json.gz", "trace.json.gz --no-open")


@click.command("view", cls=Command, groups=GROUPS, examples=EXAMPLES)
@click.argument("trace", type=click.Path(path_type=Path))
@click.argument("sample", required=False)
@click.option("--no-open", is_flag=True, help="Print how to load it; start nothing.")
@click.option("--wait", default=120, metavar="SECONDS", help="How long to wait for the viewer.")
@click.option(
    "--port",
    default=PORT,
    metavar="N",
    help="Port on 127.0.0.1; Perfetto's page may read this one alone. 0: any that is free.",
)
def command(trace: Path, sample: str | None, no_open: bool, wait: int, port: int) -> int:
    """Open TRACE in the Perfetto UI, served once to this machine alone.

    TRACE is a trace file, or a capture directory followed by the id of a SAMPLE. The trace does
    not leave the machine: the viewer runs in the browser and reads it from 127.0.0.1, under an
    address that nobody can guess. The server stops after the first whole read, after --wait
    seconds, or on Ctrl-C.
    """
    trace = _trace_file(trace, sample)
    say(f"by hand: open {PERFETTO} (or chrome://tracing) and drop {trace} on it")
    if no_open:
        return 0
    with one_shot(trace, port) as server:
        address = f"{PERFETTO}/#!/?url={quote(server.url, safe='')}"
        say(f"opening {address}")
        served = server.serve_once(wait, lambda: webbrowser.open(address))
    say("served; the viewer has it" if served else f"nobody asked for it in {wait} s")
    return 0


def _trace_file(path: Path, sample: str | None) -> Path:
    """The file of a path, or of a sample in a capture directory.

    Raises:
        UsageError: there is no such file or sample, or only a compact store of it.
        TraceError: a sample's file is not the one that was recorded.
    """
    if path.is_symlink() and not path.exists():
        raise UsageError(
            f"{path} is a link to a file that is not there",
            why=f"it leads to {path.readlink()}",
            remedy="name the trace itself",
        )
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
    """The Kineto file of a capture's sample."""
    from trace_timing.api.analysis.inputs import find_inputs, kineto_file
    from trace_timing.api.analysis.recorded_files import verified

    files = {
        s.sample_id: (s, file)
        for s in find_inputs([str(folder)]).sources
        if (file := kineto_file(s))
    }
    if sample is None and len(files) == 1:
        return verified(*next(iter(files.values())))
    if sample is None or sample not in files:
        names = ", ".join(list(files)[:MOST_NAMES]) or "none"
        more = f" and {len(files) - MOST_NAMES} more" if len(files) > MOST_NAMES else ""
        raise UsageError(
            f"{folder} has no sample {sample}" if sample else f"{folder} has several samples",
            why=f"samples with a trace that viewers read: {names}{more}",
            remedy=did_you_mean(sample or "", files)
            + f"trace-timing view {folder} SAMPLE, with one of these",
        )
    return verified(*files[sample])
