"""Which API calls of a trace do a given thing, and which merely build a graph."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from trace_timing.api_call_names import CallRole, role_of_call
from trace_timing.arrays import BoolArray, IntArray, distinct_codes
from trace_timing.memoize import cached_per_object
from trace_timing.trace.events import Kind, Trace


def calls_that(trace: Trace, rows: IntArray, roles: Collection[CallRole]) -> BoolArray:
    """Which of these rows of the trace are calls in one of the roles; len(rows) entries."""
    if not trace.names:
        return np.zeros(len(rows), np.bool_)
    matches = np.array([role in roles for role in _roles(trace)], np.bool_)
    return matches[trace.events.name[rows]]


@cached_per_object
def _roles(trace: Trace) -> tuple[CallRole, ...]:
    """Role of each of the trace's names, were it a call's."""
    return tuple(map(role_of_call, trace.names))


def captured(trace: Trace, rows: IntArray) -> BoolArray:
    """Which of these calls lie between a begin and an end of stream capture on their thread.

    What they launch is put into a graph and does not run then; len(rows) entries.
    """
    events = trace.events
    calls = events.rows(Kind.CALL)
    begins, ends = (
        calls[_named(trace, f"Stream{what}Capture")[events.name[calls]]]
        for what in ("Begin", "End")
    )
    inside = np.zeros(len(rows), np.bool_)
    for thread in distinct_codes(events.thread[begins]):
        mine = events.thread[rows] == thread
        at = events.start_ns[rows[mine]]
        begun, ended = (
            np.searchsorted(np.sort(events.start_ns[some[events.thread[some] == thread]]), at)
            for some in (begins, ends)
        )
        inside[mine] = begun > ended
    return inside


def _named(trace: Trace, part: str) -> BoolArray:
    """Which of the trace's names have this part."""
    return np.array([part in name for name in trace.names], np.bool_)
