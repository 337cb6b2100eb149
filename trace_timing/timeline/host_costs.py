"""One thread's clock without the cost of being recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.costs import CALL_KINDS, call_kind
from trace_timing.memo import once
from trace_timing.timeline.layout import RunTimeline
from trace_timing.timeline.overhead import CostModel
from trace_timing.trace.events import Kind, Trace
from trace_timing.units import FloatArray, IntArray, distinct_codes


@dataclass(frozen=True)
class HostClock:
    """Maps instants of a thread to what they would be without what was recorded before them.

    A cost lies just after the instant where its call, op or range begins (of ops and ranges, half
    of it where they end): a launch's cost is paid before the launch has its effect.

    A single interval can be shorter than the average cost says: then its instants fall together
    and the remainder is taken from what follows, so that the sum stays what it is.
    """

    #: Instants at which costs fall due, ascending.
    at_ns: IntArray
    #: Entry j: the cost before at_ns[j]; one entry more than at_ns.
    spent_ns: IntArray
    #: Entry j: where the latest of the first j instants has moved to, so none overtakes it.
    floor_ns: IntArray

    def __call__(self, times_ns: IntArray) -> IntArray:
        """The instants without the cost before them; n entries in any order."""
        row = np.searchsorted(self.at_ns, times_ns, side="left")
        moved: IntArray = np.maximum(times_ns - self.spent_ns[row], self.floor_ns[row])
        return moved


def clock_of(at_ns: IntArray, cost_ns: FloatArray) -> HostClock:
    """The clock of a thread that pays cost_ns[i] just after at_ns[i], ascending."""
    spent = np.concatenate([[0], np.rint(np.cumsum(cost_ns)).astype(np.int64)])
    never = np.int64(np.iinfo(np.int64).min)
    floor = np.maximum.accumulate(np.concatenate([[never], at_ns - spent[:-1]]))
    return HostClock(at_ns, spent, floor)


@dataclass(frozen=True)
class Recorded:
    """What recording cost a thread, in the order in which it fell due: n entries each."""

    at_ns: IntArray
    #: Index into CALL_KINDS, or one of the two after them: half an op's, half a range's.
    what: IntArray
    #: Length of a pause of the profiler's; 0 where an entry is none.
    pause_ns: IntArray


_HALF_OP, _HALF_RANGE, _PAUSE = range(len(CALL_KINDS), len(CALL_KINDS) + 3)


def host_clock(trace: Trace, run: RunTimeline, costs: CostModel) -> HostClock:
    """The clock of the run's generating thread within its window."""
    recorded = recorded_of(trace, run)
    halves = [costs.cpu_op_ns / 2, costs.range_ns / 2, 0.0]
    amounts = np.concatenate([call_costs(costs), halves])[recorded.what]
    return clock_of(recorded.at_ns, amounts + recorded.pause_ns * costs.takes_pauses)


@once
def recorded_of(trace: Trace, run: RunTimeline) -> Recorded:
    """What was recorded of the run's generating thread within its window; whatever it cost."""
    events = trace.events
    inside = events.thread == run.generating_thread
    inside &= (events.start_ns >= run.window_start_ns) & (events.start_ns < run.window_end_ns)
    calls, ops, ranges = (
        np.flatnonzero(inside & (events.kind == kind))
        for kind in (Kind.CALL, Kind.CPU_OP, Kind.RANGE)
    )
    gaps = _own_gaps(trace, np.flatnonzero(inside))
    both = [np.concatenate([events.start_ns[rows], events.end_ns[rows]]) for rows in (ops, ranges)]
    at = np.concatenate([events.start_ns[calls], *both, events.start_ns[gaps]])
    halves = np.repeat([_HALF_OP, _HALF_RANGE, _PAUSE], [len(both[0]), len(both[1]), len(gaps)])
    what = np.concatenate([call_kinds(trace, calls), halves])
    pause = np.zeros(len(at), np.int64)
    pause[len(at) - len(gaps) :] = events.dur_ns[gaps]
    order = np.argsort(at, kind="stable")
    return Recorded(at[order], what[order], pause[order])


def _own_gaps(trace: Trace, mine: IntArray) -> IntArray:
    """The profiler's own pauses that stopped a thread: it began nothing while they lasted.

    Kineto files them under no thread of their own ("Activity Buffer Request", some 0.4 ms).
    """
    events = trace.events
    rows = events.rows(Kind.OVERHEAD)
    asked = np.array(["Activity Buffer Request" in name for name in trace.names], np.bool_)
    rows = rows[asked[events.name[rows]]] if len(rows) else rows
    begins = np.sort(events.start_ns[mine])
    first = np.searchsorted(begins, events.start_ns[rows], side="right")
    last = np.searchsorted(begins, events.end_ns[rows], side="left")
    within = (first > 0) & (last < len(begins))
    stopped: IntArray = rows[within & (first == last)]
    return stopped


def call_costs(costs: CostModel) -> FloatArray:
    """Cost of an API call of each of CALL_KINDS."""
    return np.array([costs.call_ns(kind) for kind in CALL_KINDS])


def call_kinds(trace: Trace, rows: IntArray) -> IntArray:
    """Which of CALL_KINDS each of these API calls is, by its name."""
    names = trace.events.name[rows]
    kinds = np.zeros(len(trace.names), np.int64)
    for name in distinct_codes(names):
        kinds[name] = CALL_KINDS.index(call_kind(trace.names[name]))
    found: IntArray = kinds[names]
    return found
