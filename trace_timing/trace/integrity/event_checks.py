"""Checks of single events: impossible times, and records that the profiler reports as dropped."""

from __future__ import annotations

import re

import numpy as np

from trace_timing.trace.events import GPU_OP_KINDS, Kind, Trace
from trace_timing.trace.integrity.check import Found, event_text, passed
from trace_timing.units import NS_PER_S

#: Distance of the next event from which on a time of 0 is a fault: traces may begin at 0.
ZERO_ALONE_NS = NS_PER_S
_DROPPED = re.compile(r"\bdropp?(?:ed|ing)\b|\blost records?\b", re.IGNORECASE)


def at_zero(trace: Trace) -> Found:
    """Ops and calls with the timestamp 0 in a trace of other times."""
    events = trace.events
    rows = events.rows(Kind.CALL, *GPU_OP_KINDS)
    zero = rows[events.start_ns[rows] == 0]
    begins = rest_begins(trace)
    if not len(zero) or begins is None or abs(begins) < ZERO_ALONE_NS:
        return passed(f"{len(rows)} ops and calls")
    return Found(
        count=len(zero),
        evidence=f"{len(zero)} events, the first {event_text(trace, int(zero[0]))}; "
        f"the others begin at {begins} ns",
    )


def launching_only(trace: Trace) -> Found:
    """Processes of a merged trace that launch work, and have neither ranges nor ops."""
    pids = trace.info.launching_only
    if not pids:
        return passed("no process without ranges and ops launches anything")
    return Found(count=len(pids), evidence=f"process {', '.join(pids[:4])}")


def rest_begins(trace: Trace) -> int | None:
    """Begin of the first event that does not begin at 0; None without one."""
    starts = trace.events.start_ns
    starts = starts[starts != 0]
    return int(starts[np.argmin(np.abs(starts))]) if len(starts) else None


def rounded(trace: Trace) -> Found:
    """Times in whole µs."""
    if not trace.info.rounded_to_us:
        return passed("times to the nanosecond")
    return Found(count=1, evidence="no event of the trace has a fraction of a µs")


def dropped_records(trace: Trace) -> Found:
    """Events of the profiler, or notes in the header, that report dropped records."""
    events = trace.events
    rows = events.rows(Kind.OVERHEAD)
    names = {trace.names[n] for n in events.name[rows].tolist()}
    said = [text for text in (*sorted(names), *trace.info.notes) if _DROPPED.search(text)]
    if not said:
        return passed(f"{len(rows)} events and {len(trace.info.notes)} notes of the profiler")
    return Found(count=len(said), evidence=f"{len(said)} notes, the first {said[0][:120]!r}")
