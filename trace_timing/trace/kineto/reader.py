"""Read Kineto JSON, plain or gzipped, into a Trace with exact ns; nothing is dropped silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from trace_timing.errors import TraceError
from trace_timing.trace.events import Events, Kind, Trace
from trace_timing.trace.kineto.columns import Columns
from trace_timing.trace.kineto.damage import salvage
from trace_timing.trace.kineto.file_kinds import kind_of_document
from trace_timing.trace.kineto.header import header_of, trace_info
from trace_timing.trace.kineto.inflating import MOST_INFLATION, blocks_of
from trace_timing.trace.kineto.pieces import PIECE_BYTES, Rest, feed, has_second_list
from trace_timing.trace.kineto.text import UNREADABLE, Buffer, Repairs, repaired
from trace_timing.trace.processes import tell_processes
from trace_timing.units import NS_PER_S, NS_PER_US

_AGAIN = "Record the trace again, or copy it again from where it was recorded."
_GIVE = "Give a trace exported by torch.profiler."
#: Limit of the sum of durations, computed as a float, so that rounding stays below 64 bits.
_MOST_NS = 2**63 - 2**32


def read_trace(
    path: str | Path, *, cpu_ops: bool = False, max_inflation: float = MOST_INFLATION
) -> Trace:
    """Read one Kineto trace.

    Args:
        path: JSON or gzipped JSON, by content and not by name; an object with `traceEvents` or a
            bare list of events.
        cpu_ops: read the `cpu_op` events too.
        max_inflation: how many times its size a .gz may inflate to (inflating.py).
    Returns:
        Events in file order. Events of unused categories are counted in `info.skipped`, damaged
        ones that are not needed in `info.damage`.
    Raises:
        TraceError: no file, empty, truncated, not JSON, not a trace; calls or ops with missing, NaN
            or negative times (the first is named, all are counted); times whose sums or differences
            would overflow int64; or several processes and no information whose an op is.
    """
    try:
        with Path(path).open("rb") as file:
            return read_stream(file, str(path), cpu_ops=cpu_ops, max_inflation=max_inflation)
    except OSError as error:
        why = error.strerror or str(error)
        raise TraceError(f"{path}: cannot be read", why=why, remedy="Check the path.") from error


def read_stream(
    file: BinaryIO, source: str, *, cpu_ops: bool = False, max_inflation: float = MOST_INFLATION
) -> Trace:
    """As `read_trace`, from an open file; `source` names it in messages."""
    columns = Columns(cpu_ops)
    rest = feed(blocks_of(file, source, max_inflation), columns.add, PIECE_BYTES)
    if rest.head is None and not rest.body.strip():
        raise TraceError(f"{source}: the file is empty", remedy=_AGAIN)
    try:
        header = _finish(rest, columns, source)
    except UNREADABLE as error:
        other = kind_of_document(rest)
        if other:
            raise TraceError(
                f"{source}: {other.what}", why=other.why, remedy=other.remedy
            ) from error
        saved = salvage(rest, columns)
        if saved is None:
            raise _not_a_trace(source, error) from error
        header = saved
    read = columns.events()
    faults = columns.faults
    if faults.bad_count:
        raise TraceError(
            f"{source}: {faults.bad_count} events {faults.bad_state}",
            why=f"The first: {faults.first_bad}",
            remedy=f"The profiler wrote a corrupt trace. {_AGAIN}",
        )
    events, processes = tell_processes(read, columns.threads, columns.tracks, source)
    info = trace_info(
        header,
        rounded_to_us=_rounded_to_us(events),
        skipped=columns.skipped,
        cpu_ops=cpu_ops,
        processes=processes,
        damage=faults.damage,
    )
    trace = Trace(events, columns.names, columns.threads, info, source)
    _refuse_overflow(trace)
    return trace


def _refuse_overflow(trace: Trace) -> None:
    """Refuse times whose sums and differences would overflow int64."""
    events = trace.events
    if not len(events):
        return
    total = float(events.dur_ns.sum(dtype=np.float64))
    end = int(events.end_ns.max())
    span = end - int(events.start_ns.min())
    since_1970 = end + (trace.info.base_time_ns or 0)
    if max(total, span, since_1970) < _MOST_NS:
        return
    row = int(events.dur_ns.argmax() if total >= _MOST_NS else events.end_ns.argmax())
    kind, name = Kind(events.kind[row]).name.lower(), trace.names[events.name[row]]
    begin, dur = int(events.start_ns[row]) // NS_PER_S, int(events.dur_ns[row]) // NS_PER_S
    raise TraceError(
        f"{trace.source}: its times do not fit 63 bits of nanoseconds",
        why=f"{kind} {name!r} begins at {begin} s and takes {dur} s; all events together take "
        f"{total / NS_PER_S:.0f} s, from the first to the last it is {span // NS_PER_S} s",
        remedy=f"The profiler wrote a corrupt trace. {_AGAIN}",
    )


def _rounded_to_us(events: Events) -> bool:
    """Whether every time is a whole µs; the first events nearly always decide."""
    times = (events.start_ns[:100], events.dur_ns[:100], events.start_ns, events.dur_ns)
    return bool(len(events)) and not any((t % NS_PER_US).any() for t in times)


def _finish(rest: Rest, columns: Columns, source: str) -> dict[str, Any]:
    """Add the remaining events of the document and return its other fields."""
    if rest.is_list:
        columns.add(rest.document)
        return {}
    fields, repairs = _fields(rest.document)
    if "traceEvents" not in fields:
        raise TraceError(
            f"{source}: the JSON has no traceEvents",
            why=f"It has {', '.join(sorted(fields)[:5]) or 'nothing'}"[:200],
            remedy=_GIVE,
        )
    if has_second_list(rest):
        raise TraceError(
            f"{source}: the JSON has two lists of traceEvents",
            why="Readers take the first, the last or both of them",
            remedy="Give a trace with one list, as the profiler wrote it.",
        )
    columns.add(bytes(fields.pop("traceEvents")))
    columns.faults.repairs.add(repairs)
    return header_of(fields)


def _fields(document: Buffer) -> tuple[dict[str, msgspec.Raw], Repairs]:
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    try:
        return decoder.decode(document), Repairs()
    except (msgspec.ValidationError, RecursionError):
        raise  # no text to repair
    except UNREADABLE:
        right, repairs = repaired(document)
        if right == document:
            raise
    return decoder.decode(right), repairs


def _not_a_trace(source: str, error: Exception) -> TraceError:
    if isinstance(error, msgspec.ValidationError):
        return TraceError(f"{source}: the JSON is not a Kineto trace", why=str(error), remedy=_GIVE)
    if isinstance(error, RecursionError):
        return TraceError(f"{source}: its JSON nests too deeply to be read", remedy=_GIVE)
    return TraceError(f"{source}: the file is not JSON", why=str(error), remedy=_AGAIN)
