"""Count corrupt durations and lost ops of a recording (docs/integrity.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.api_call_names import LAUNCHING
from trace_timing.arrays import BoolArray, IntArray
from trace_timing.memoize import cached_per_object
from trace_timing.trace.calls import calls_that, captured
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.trace.links import gpu_op_rows
from trace_timing.trace.marks import Marks, marks_of

#: Ops of one stream overlap by about 1 µs under programmatic dependent launch; more is corrupt.
#: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ (Programmatic Dependent Launch)
STREAM_OVERLAP_NS = 5_000


@dataclass(frozen=True)
class Integrity:
    """Counts of faults; all 0 in a sound trace."""

    #: Ops that end more than STREAM_OVERLAP_NS after the next op of their stream starts.
    overlong_ops: int
    overlong_ns: int
    #: Launching calls to which no op belongs (of calls with a correlation id).
    launches_without_ops: int
    launches: int
    #: Of these, at the very beginning of the session: head-kernel loss.
    lost_at_head: int
    #: Launches without an op where recording was switched off or on: not counted above.
    launches_at_switches: int = 0


@cached_per_object
def check_integrity(trace: Trace) -> Integrity:
    """Count corrupt durations and lost ops."""
    overlong = _overlong(trace)
    found = launches(trace)
    lost = found.missing & ~found.at_switch
    head = int(np.argmin(lost)) if len(lost) and not lost.all() else int(lost.sum())
    return Integrity(
        overlong_ops=len(overlong),
        overlong_ns=int(overlong.sum()),
        launches_without_ops=int(lost.sum()),
        launches=len(lost),
        lost_at_head=head,
        launches_at_switches=int(found.at_switch.sum()),
    )


def lost_at_switches(trace: Trace) -> IntArray:
    """Rows of the launching calls that lost their op at a switch of recording."""
    found = launches(trace)
    return found.row[found.at_switch]


def _overlong(trace: Trace) -> IntArray:
    """By how many ns ops outlast the begin of their stream's next op, of those beyond tolerance."""
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


@dataclass(frozen=True, eq=False)
class Launches:
    """The n launching calls that have a correlation id, by begin."""

    row: IntArray
    #: Whether no op belongs to it.
    missing: BoolArray
    #: Whether no op belongs to it because of a switch of recording.
    at_switch: BoolArray

    @property
    def lost(self) -> IntArray:
        """Rows of those without an op for another reason than a switch."""
        return self.row[self.missing & ~self.at_switch]


@cached_per_object
def launches(trace: Trace) -> Launches:
    """Every launch, and whether an op belongs to it; calls that only build a graph are left out."""
    events = trace.events
    calls = events.rows(Kind.CALL)
    launching = calls[calls_that(trace, calls, LAUNCHING)]
    launching = launching[events.correlation[launching] != NONE]
    launching = launching[~captured(trace, launching)]
    launching = launching[np.argsort(events.start_ns[launching], kind="stable")]
    launched = np.sort(events.correlation[gpu_op_rows(events)], kind="stable")
    ids = events.correlation[launching]
    missing = np.append(launched, NONE)[np.searchsorted(launched, ids)] != ids
    at_switch = _next_to_switch(marks_of(trace), events.start_ns[launching], missing)
    return Launches(launching, missing, at_switch)


def _next_to_switch(marks: Marks, start_ns: IntArray, missing: BoolArray) -> BoolArray:
    """Which launches lost their op at a switch: those in a gap or its guard step, and the last ones
    before a gap with no launch after them that has its op.

    If no launch at all of the stretch before a gap has its op, the switch is not the reason.
    """
    found = missing & marks.both.hold(start_ns)
    if not missing.any():
        return found
    last_present = np.maximum.accumulate(np.where(missing, NONE, np.arange(len(missing))))
    for begin in marks.off.start_ns:
        gap = int(np.searchsorted(start_ns, begin))
        present = int(last_present[gap - 1]) if gap else NONE
        behind = marks.both.end_ns[marks.both.end_ns <= begin].max(initial=start_ns[0])
        if present != NONE and start_ns[present] >= behind:
            found[present + 1 : gap] = True
    return found
