"""Select API calls by what they do, and those that only build a graph."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from trace_timing.api_call_names import CallRole, role_of_call
from trace_timing.arrays import BoolArray, IntArray, distinct_codes
from trace_timing.memoize import cached_per_object
from trace_timing.trace.events import Kind, Trace


def calls_that(trace: Trace, rows: IntArray, roles: Collection[CallRole]) -> BoolArray:
    """Whether each of these calls has one of the roles; len(rows) entries."""
    if not trace.names:
        return np.zeros(len(rows), np.bool_)
    matches = np.array([role in roles for role in _roles(trace)], np.bool_)
    return matches[trace.events.name[rows]]


@cached_per_object
def _roles(trace: Trace) -> tuple[CallRole, ...]:
    """The role that a call of each of the trace's names would have."""
    return tuple(map(role_of_call, trace.names))


def captured(trace: Trace, rows: IntArray) -> BoolArray:
    """Whether each of these calls is between begin and end of a stream capture on its thread.

    Such calls put work into a graph, and nothing runs then; len(rows) entries.
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
    """Whether each of the trace's names contains this text."""
    return np.array([part in name for name in trace.names], np.bool_)
