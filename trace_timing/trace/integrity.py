"""Faults of a recording that its own events betray (facts.md: known to go wrong)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.call_names import LAUNCHING
from trace_timing.trace.calls import calls_that, captured
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.trace.links import gpu_op_rows
from trace_timing.units import IntArray

#: Ops of one stream overlap by about 1 µs under programmatic dependent launch; more is corrupt.
#: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ (Programmatic Dependent Launch)
STREAM_OVERLAP_NS = 5_000


@dataclass(frozen=True)
class Integrity:
    """Counts of what a sound trace has none of."""

    #: Ops that end more than STREAM_OVERLAP_NS after the next op of their stream starts.
    overlong_ops: int
    overlong_ns: int
    #: Launching calls to which no op belongs (of calls with a correlation id).
    launches_without_ops: int
    launches: int
    #: Of these, at the very beginning of the session: head-kernel loss.
    lost_at_head: int


def check_integrity(trace: Trace) -> Integrity:
    """Look for corrupt durations and lost ops."""
    overlong = _overlong(trace)
    lost, launches, head = _lost(trace)
    return Integrity(len(overlong), int(overlong.sum()), lost, launches, head)


def _overlong(trace: Trace) -> IntArray:
    events = trace.events
    ops = gpu_op_rows(events)
    # Nodes of a graph run side by side under one stream's name.
    ops = ops[events.graph_node[ops] <= 0]
    ops = ops[np.lexsort((events.start_ns[ops], events.stream[ops], events.device[ops]))]
    same = (events.stream[ops][1:] == events.stream[ops][:-1]) & (
        events.device[ops][1:] == events.device[ops][:-1]
    )
    same &= events.correlation[ops][1:] != events.correlation[ops][:-1]
    beyond = events.end_ns[ops][:-1] - events.start_ns[ops][1:]
    found: IntArray = beyond[same & (beyond > STREAM_OVERLAP_NS)]
    return found


def _lost(trace: Trace) -> tuple[int, int, int]:
    events = trace.events
    calls = events.rows(Kind.CALL)
    launching = calls[calls_that(trace, calls, LAUNCHING)]
    launching = launching[events.correlation[launching] != NONE]
    launching = launching[~captured(trace, launching)]
    launching = launching[np.argsort(events.start_ns[launching], kind="stable")]
    launched = np.sort(events.correlation[gpu_op_rows(events)], kind="stable")
    ids = events.correlation[launching]
    missing = np.append(launched, NONE)[np.searchsorted(launched, ids)] != ids
    head = int(np.argmin(missing)) if len(missing) and not missing.all() else int(missing.sum())
    return int(missing.sum()), len(launching), head
