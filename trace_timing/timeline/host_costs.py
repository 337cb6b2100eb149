"""One thread's clock without the cost of being recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.costs import CALL_KINDS, call_kind
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
    """The clock of a thread that pays cost_ns[i] just after at_ns[i], in any order."""
    order = np.argsort(at_ns, kind="stable")
    at = at_ns[order]
    spent = np.concatenate([[0], np.rint(np.cumsum(cost_ns[order])).astype(np.int64)])
    never = np.int64(np.iinfo(np.int64).min)
    floor = np.maximum.accumulate(np.concatenate([[never], at - spent[:-1]]))
    return HostClock(at, spent, floor)


def host_clock(trace: Trace, thread: int, costs: CostModel, window: tuple[int, int]) -> HostClock:
    """The clock of one thread within a window."""
    events = trace.events
    inside = (
        (events.thread == thread) & (events.start_ns >= window[0]) & (events.start_ns < window[1])
    )
    times, amounts = [], []

    def add(where: IntArray, each: FloatArray) -> None:
        times.append(where)
        amounts.append(each)

    calls = np.flatnonzero(inside & (events.kind == Kind.CALL))
    add(events.start_ns[calls], call_costs(trace, calls, costs))
    for kind, cost in ((Kind.CPU_OP, costs.cpu_op_ns), (Kind.RANGE, costs.range_ns)):
        rows = np.flatnonzero(inside & (events.kind == kind))
        half = np.full(len(rows), cost / 2)
        add(events.start_ns[rows], half)
        add(events.end_ns[rows], half)
    if costs.takes_pauses:
        gaps = _own_gaps(trace, np.flatnonzero(inside))
        add(events.start_ns[gaps], events.dur_ns[gaps].astype(np.float64))
    return clock_of(np.concatenate(times), np.concatenate(amounts))


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


def call_costs(trace: Trace, rows: IntArray, costs: CostModel) -> FloatArray:
    """Cost of each of these API calls, by the kind that its name tells."""
    by_kind = np.array([costs.call_ns(kind) for kind in CALL_KINDS])
    names = trace.events.name[rows]
    kinds = np.zeros(len(trace.names), np.int64)
    for name in distinct_codes(names):
        kinds[name] = CALL_KINDS.index(call_kind(trace.names[name]))
    amounts: FloatArray = by_kind[kinds[names]]
    return amounts
