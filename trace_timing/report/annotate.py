"""A trace with our stages, idle causes and doubts as tracks of their own beside its events.

The original text is kept byte for byte; new events are put in before the end of its
`traceEvents`, so every viewer that opens the original opens this one. Each run becomes a process
of its own with three threads: stages, device idle, doubts. Format: the Trace Event Format
of the Chrome trace viewer (complete events `X`, metadata `M`), ts and dur in µs.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trace_timing.errors import TraceError
from trace_timing.records import Doubt, range_name
from trace_timing.report.palette import CATAPULT_NAMES, LABELS
from trace_timing.timeline.layout import RunTimeline, State
from trace_timing.units import NS_PER_US, IntArray

#: Far from real process ids, which viewers sort by.
FIRST_PID = 900_000_000
#: The longest idle pieces are shown, one for so many GPU ops: all of them would be most of the
#: added text, which is to stay within 5 % of the file.
OPS_PER_IDLE_PIECE = 50
THREADS = ("stages (window)", "longest idle", "doubts")
_IDLE = {State.QUEUED: "idle, work queued", State.EMPTY: "idle, queue empty"}


def write_annotated(
    trace: Path, runs: Sequence[RunTimeline], output: Path, *, doubts: Sequence[Doubt] = ()
) -> int:
    """Write `trace` with the tracks of `runs` to `output` (gzip where its name ends in .gz).

    Args:
        trace: Kineto JSON or JSON.gz, an object with `traceEvents` or a bare list.
        runs: the trace's runs, in its own time scale.
        doubts: shown over the run's whole window, with their evidence and remedy.
    Returns:
        How many events were added.
    Raises:
        TraceError: the text has no end of `traceEvents` to add to.
    """
    text = _read(trace)
    events = [event for run in runs for event in track_events(run, doubts)]
    at = end_of_events(text, trace.name)
    comma = b"," if text[:at].rstrip()[-1:] not in (b"[", b",") else b""
    added = b",\n".join(json.dumps(event, separators=(",", ":")).encode() for event in events)
    whole = text[:at] + comma + b"\n" + added + b"\n" + text[at:] if events else text
    _write(output, whole)
    return len(events)


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


class _Outer(msgspec.Struct):
    """The one member that matters, as the bytes it is written in."""

    traceEvents: msgspec.Raw


def end_of_events(text: bytes, name: str) -> int:
    """Where the bracket stands that closes `traceEvents` (or a bare list).

    Raises:
        TraceError: there is none.
    """
    if text.lstrip()[:1] == b"[" and text.rstrip()[-1:] == b"]":
        return text.rindex(b"]")
    try:
        events = bytes(msgspec.json.decode(text, type=_Outer).traceEvents)
    except msgspec.MsgspecError as error:
        raise TraceError(
            f"{name} cannot be annotated",
            why=f"its traceEvents list cannot be followed to its end: {error}",
            remedy="export the trace again; it was cut short or is no Kineto trace",
        ) from error
    return text.index(events) + len(events) - 1


def track_events(run: RunTimeline, doubts: Sequence[Doubt] = ()) -> Iterator[dict[str, Any]]:
    """The events of one run's tracks, in the trace's time scale."""
    pid = FIRST_PID + run.ordinal
    yield _meta(pid, 0, "process_name", f"trace-timing: run {run.ordinal} (clock = {run.clock})")
    for tid, name in enumerate(THREADS):
        yield _meta(pid, tid, "thread_name", name)
    yield from _stage_events(run, pid)
    yield from _idle_events(run, pid)
    for doubt in doubts:
        yield _complete(
            pid,
            2,
            f"doubt: {doubt.code}",
            run.window_start_ns,
            run.window_end_ns,
            args={"message": doubt.message, "evidence": doubt.evidence, "remedy": doubt.remedy},
        )


def _stage_events(run: RunTimeline, pid: int) -> Iterator[dict[str, Any]]:
    """Adjoining tiles of one key as one event, its busy time among its arguments."""
    tiles = run.tiles
    for first, last in _pieces(tiles.key):
        key = int(tiles.key[first])
        stage = run.keys[key].stage if key >= 0 else "other"
        start, end = int(tiles.start_ns[first]), int(tiles.end_ns[last])
        busy = _busy_ns(run, first, last)
        yield _complete(
            pid,
            0,
            range_name(stage, run.keys[key].step if key >= 0 else None),
            start,
            end,
            cname=CATAPULT_NAMES[stage],
            args={"stage": LABELS[stage], "window_ns": end - start, "busy_ns": busy},
        )


def _busy_ns(run: RunTimeline, first: int, last: int) -> int:
    part = slice(first, last + 1)
    busy = run.tiles.state[part] == State.BUSY
    return int((run.tiles.end_ns[part] - run.tiles.start_ns[part])[busy].sum())


def _idle_events(run: RunTimeline, pid: int) -> Iterator[dict[str, Any]]:
    tiles = run.tiles
    pieces = [
        (int(tiles.start_ns[first]), int(tiles.end_ns[last]), State(int(tiles.state[first])))
        for first, last in _pieces(tiles.state.astype(np.int64))
        if tiles.state[first] != State.BUSY
    ]
    longest = sorted(pieces, key=lambda piece: piece[0] - piece[1])
    for start, end, state in sorted(longest[: len(run.ops) // OPS_PER_IDLE_PIECE]):
        yield _complete(pid, 1, _IDLE[state], start, end)


def _pieces(values: Any) -> Iterator[tuple[int, int]]:
    """First and last row of each stretch of equal values."""
    first: IntArray = np.flatnonzero(np.diff(values, prepend=values[:1] - 1) != 0)
    last = np.append(first[1:], len(values)) - 1
    return zip(first.tolist(), last.tolist(), strict=True)


def _meta(pid: int, tid: int, name: str, value: str) -> dict[str, Any]:
    return {"ph": "M", "pid": pid, "tid": tid, "name": name, "ts": 0, "args": {"name": value}}


def _complete(
    pid: int,
    tid: int,
    name: str,
    start_ns: int,
    end_ns: int,
    *,
    cname: str | None = None,
    args: dict[str, Any] | None = None,
) -> dict[str, Any]:
    event: dict[str, Any] = {
        "ph": "X",
        "cat": "trace-timing",
        "pid": pid,
        "tid": tid,
        "name": name,
        "ts": _us(start_ns),
        "dur": _us(end_ns - start_ns),
    }
    if cname:
        event["cname"] = cname
    if args:
        event["args"] = args
    return event


def _us(ns: int) -> float | int:
    """µs of ns: exact in the text for the ns scale that newer traces have."""
    return ns // NS_PER_US if ns % NS_PER_US == 0 else ns / NS_PER_US
