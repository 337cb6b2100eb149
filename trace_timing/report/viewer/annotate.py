"""Write a trace with added tracks (listed in tracks.py) beside its own events.

The original text is kept byte for byte; new events are inserted at the end of its `traceEvents`,
so every viewer that opens the original opens this one.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import msgspec

from trace_timing.atomic_write import write_whole
from trace_timing.errors import TraceError
from trace_timing.report.viewer.tracks import (
    AnnotatedRun,
    Flow,
    Op,
    OpTracks,
    encoded,
    flows,
    idle_events,
    track_events,
)
from trace_timing.trace.events import Trace
from trace_timing.trace.kineto.decoding import decode_loosely, ns_from_us_text
from trace_timing.trace.kineto.text import UNREADABLE

#: Most that is added, as a share of the file, both as text and compressed: below 5 %.
MOST_ADDED = 0.045
LEVEL = 9


def write_annotated(path: Path, trace: Trace, runs: Sequence[AnnotatedRun], output: Path) -> int:
    """Write the trace at `path` with the tracks of its runs to `output`, as gzip.

    All stages and warnings are written. Idle causes (the longest stretches first) and flows (to
    the first op of each stage and step, then to the longest ops) follow as long as the file grows
    by less than 5 %.

    Args:
        path: Kineto JSON or JSON.gz, an object with `traceEvents` or a bare list.
        trace: the events read from `path`.
    Returns:
        How many events were added, a flow counted as one.
    Raises:
        TraceError: the text has no end of `traceEvents` to add to.
    """
    text = _read(path)
    begin, end = events_span(text, path.name)
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    packed = packer.compress(text[:end]) + packer.flush(zlib.Z_SYNC_FLUSH)
    added = encoded(
        [event for drawn in runs for event in track_events(drawn.trace or trace, drawn)]
    )
    optional = _optional(trace, runs, text[begin : end + 1])
    optional = _fitting(optional, int(len(text) * MOST_ADDED) - _size(added))
    packed_room = int(len(packed) * MOST_ADDED * _ratio(added + optional))
    added += _fitting(optional, packed_room - _size(added))
    comma = b"," if added and text[:end].rstrip()[-1:] not in (b"[", b",") else b""
    packed += packer.compress(comma + b"\n" + b",\n".join(added) + b"\n" + text[end:])
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, packed + packer.flush())
    return len(added)


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _optional(trace: Trace, runs: Sequence[AnnotatedRun], events: bytes) -> list[bytes]:
    """Events that may be left out, the most useful first; both ends of a flow are one item.

    Flows to first ops; then idle causes and other flows, three to one.
    """
    arrows = [
        (arrow, _op(drawn.trace or trace, arrow)) for drawn in runs for arrow in flows(drawn.run)
    ]
    tracks = _op_tracks({op for _, op in arrows}, events)
    pairs = [
        b",\n".join(encoded(arrow.events(number, tracks[op])))
        for number, (arrow, op) in enumerate(arrows)
        if op in tracks
    ]
    firsts = sum(arrow.is_first for arrow, _ in arrows)
    idle = encoded([e for drawn in runs for e in idle_events(drawn.trace or trace, drawn.run)])
    in_turn = chain.from_iterable(zip_longest(idle[::3], idle[1::3], idle[2::3], pairs[firsts:]))
    return pairs[:firsts] + [event for event in in_turn if event]


def _op(trace: Trace, arrow: Flow) -> Op:
    """Start and name of the op that a flow leads to."""
    return arrow.op_start_ns, trace.names[trace.events.name[arrow.op_row]]


def _op_tracks(wanted: Collection[Op], events: bytes) -> OpTracks:
    """Track of each wanted op in the file, matched by start and name: tracks differ by vendor."""
    tracks: dict[Op, tuple[Any, Any]] = {}
    try:
        written, _ = decode_loosely(events)
    except UNREADABLE:
        return tracks  # a damaged file, which the reader could still use: no flows
    for event in written:
        op = (ns_from_us_text(event.ts) or 0, event.name)
        if op in wanted:
            tracks[op] = (event.pid, event.tid)
    return tracks


def _ratio(events: Sequence[bytes]) -> float:
    """Size of events as text ÷ compressed."""
    text = b",\n".join(events)
    return len(text) / max(len(zlib.compress(text, LEVEL)), 1)


def _size(events: Sequence[bytes]) -> int:
    """Bytes of the events with their separators."""
    return sum(map(len, events)) + 2 * len(events)


def _fitting(events: Sequence[bytes], room: int) -> list[bytes]:
    """As many of the first events as fit."""
    kept = []
    for event in events:
        room -= len(event) + 2
        if room < 0:
            break
        kept.append(event)
    return kept


class _Outer(msgspec.Struct):
    """The top level of a trace: `traceEvents` alone, undecoded."""

    traceEvents: msgspec.Raw


def events_span(text: bytes, name: str) -> tuple[int, int]:
    """Offsets of the brackets that open and close `traceEvents` (or a bare list).

    Raises:
        TraceError: there are none.
    """
    if text.lstrip()[:1] == b"[" and text.rstrip()[-1:] == b"]":
        return text.index(b"["), text.rindex(b"]")
    try:
        events = bytes(msgspec.json.decode(text, type=_Outer).traceEvents)
    except UNREADABLE as error:
        raise TraceError(
            f"{name} cannot be annotated",
            why=f"its traceEvents list cannot be followed to its end: {error}",
            remedy="export the trace again; it was cut short or is no Kineto trace",
        ) from error
    begin = text.index(events)
    return begin, begin + len(events) - 1
