"""Salvage a document in which some events are damaged beyond repair.

An event with wrong quotes or braces makes everything after it unreadable. Here the text is cut
between braces, events are read one by one, and those that cannot be read are noted: Faults decides
by their remains whether they were needed.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trace_timing.trace.kineto.columns import Columns
from trace_timing.trace.kineto.decoding import decode_loosely
from trace_timing.trace.kineto.header import header_of
from trace_timing.trace.kineto.pieces import PIECE_BYTES, Rest
from trace_timing.trace.kineto.text import UNREADABLE

_BETWEEN = re.compile(rb"\}([ \t\n\r]*,[ \t\n\r]*)\{")
_LIST_END = re.compile(rb'\][ \t\n\r]*(?:,[ \t\n\r]*"|\}[ \t\n\r]*\Z)')
#: Most cuts to undo within one event, whose arguments may hold lists of objects.
_MOST_CUTS = 8
#: Bytes at the document's end that are searched for fields after the events.
_TAIL_BYTES = 1 << 20
_ENDS_TRIED = 1000
#: Most unreadable events; with more, the trace must be recorded again.
_MOST_DAMAGED = 10_000


def salvage(rest: Rest, columns: Columns) -> dict[str, Any] | None:
    """Add the readable events to `columns`, note the others, and return the header.

    None, with nothing added, if the document's end is missing or too little is readable.
    """
    if rest.head is None:
        return None
    tail = _split_tail(rest, bytes(rest.body))
    if tail is None:
        return None
    events, header = tail
    sorted_out = _sorted_out(events)
    if sorted_out is None:
        return None
    before: set[str] | None = None
    batch: list[bytes] = []
    size = 0
    for text, readable in sorted_out:
        if readable:
            batch.append(text)
            size += len(text)
        if size > PIECE_BYTES or not (readable or before):
            columns.add(_array(batch))
            batch, size = [], 0
        if not readable:
            before = before or _processes(columns)
            columns.faults.note_damaged(text)
    columns.add(_array(batch))
    after = _processes(columns) - (before or set())
    if before and after:
        columns.faults.note_writers(before, after)
    return header


def _array(events: list[bytes]) -> bytes:
    return b"[" + b",".join(events) + b"]"


def _processes(columns: Columns) -> set[str]:
    """Pids of the host's events so far, without the profiler's own tracks (words)."""
    return {pid for pid, _ in columns.threads if pid.isdecimal()}


def _split_tail(rest: Rest, body: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """The text of the remaining events, and the header."""
    if rest.is_list:
        stripped = body.rstrip()
        return (stripped[:-1], {}) if stripped.endswith(b"]") else None
    begin = max(0, len(body) - _TAIL_BYTES)
    for tried, end in enumerate(_LIST_END.finditer(body, begin)):
        if tried == _ENDS_TRIED:
            break
        fields = _decoded(bytes(rest.head or b"") + body[end.start() :])
        if fields is not None:
            return body[: end.start()], header_of(fields)
    return None


def _decoded(document: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return None


def _sorted_out(events: bytes) -> list[tuple[bytes, bool]] | None:
    """Each event's text and whether it is readable; None if too few are."""
    cuts = [(m.start() + 1, m.end() - 1) for m in _BETWEEN.finditer(events)]
    begins = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(events)]
    texts: list[tuple[bytes, bool]] = []
    at = damaged = 0
    while at < len(begins) and damaged <= _MOST_DAMAGED:
        for last in range(at, min(at + _MOST_CUTS, len(ends))):
            text = events[begins[at] : ends[last]]
            if _readable(text):
                texts.append((text, True))
                at = last + 1
                break
        else:
            texts.append((events[begins[at] : ends[at]], False))
            at += 1
            damaged += 1
    return texts if damaged < min(len(texts), _MOST_DAMAGED) else None


def _readable(text: bytes) -> bool:
    """Whether the decoder accepts it; valid JSON may still have a number beyond all types."""
    try:
        decode_loosely(_array([text]))
    except UNREADABLE:
        return False
    return True
