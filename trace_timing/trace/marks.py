"""The recorder's marks in a trace: where recording was switched off within a run.

The range `recording_off` lasts from a switch off to the next switch on, `recording_guard` over the
step after it, which is recorded but in which unrecorded work still runs. A marked gap does not
count as loss of ops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.arrays import BoolArray, IntArray
from trace_timing.memoize import cached_per_object
from trace_timing.stages import RECORDING_GUARD, RECORDING_OFF
from trace_timing.trace.events import Kind, Trace


@dataclass(frozen=True, eq=False)
class Spans:
    """n disjoint half-open intervals of host time, in order."""

    start_ns: IntArray
    end_ns: IntArray

    def __len__(self) -> int:
        return len(self.start_ns)

    def hold(self, instants_ns: IntArray) -> BoolArray:
        """Whether each of n instants lies in one of the spans."""
        if not len(self):
            return np.zeros(len(instants_ns), np.bool_)
        row = np.searchsorted(self.start_ns, instants_ns, side="right") - 1
        return (row >= 0) & (instants_ns < self.end_ns[np.maximum(row, 0)])

    def meet(self, start_ns: IntArray, end_ns: IntArray) -> BoolArray:
        """Whether each of n intervals overlaps one of the spans, or begins in one if empty."""
        if not len(self):
            return np.zeros(len(start_ns), np.bool_)
        before_end = np.searchsorted(self.start_ns, end_ns, side="left")
        over = np.searchsorted(self.end_ns, start_ns, side="right")
        return (before_end > over) | self.hold(start_ns)


NO_SPANS = Spans(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Marks:
    """The marks of all threads of a trace; both empty where all was recorded."""

    off: Spans
    guard: Spans

    def __len__(self) -> int:
        return len(self.off) + len(self.guard)

    @property
    def both(self) -> Spans:
        """The spans in which nothing is counted: gaps and guard steps."""
        start = np.concatenate([self.off.start_ns, self.guard.start_ns])
        end = np.concatenate([self.off.end_ns, self.guard.end_ns])
        return _disjoint(start, end)

    def guard_after(self, number: int) -> tuple[int, int] | None:
        """Begin and end of the guard step after the gap of this number, if any."""
        begin = int(self.off.end_ns[number])
        later = self.off.start_ns[number + 1 :]
        row = int(np.searchsorted(self.guard.start_ns, begin, side="left"))
        if row == len(self.guard) or (len(later) and self.guard.start_ns[row] >= later[0]):
            return None
        return int(self.guard.start_ns[row]), int(self.guard.end_ns[row])


@cached_per_object
def marks_of(trace: Trace) -> Marks:
    """The recorder's marks among the trace's ranges."""
    events = trace.events
    rows = events.rows(Kind.RANGE)
    spans = []
    for name in (RECORDING_OFF, RECORDING_GUARD):
        mine = rows[:0]
        if name in trace.names:
            mine = rows[events.name[rows] == trace.names.index(name)]
        spans.append(_disjoint(events.start_ns[mine], events.end_ns[mine]))
    return Marks(*spans)


def _disjoint(start_ns: IntArray, end_ns: IntArray) -> Spans:
    """The spans in order, with those joined that overlap or touch."""
    order = np.argsort(start_ns, kind="stable")
    start, end = start_ns[order], np.maximum.accumulate(end_ns[order]) if len(order) else end_ns
    first = np.ones(len(start), np.bool_)
    first[1:] = start[1:] > end[:-1]
    begins = np.flatnonzero(first)
    return Spans(start[begins], end[np.append(begins[1:], len(start)) - 1] if len(start) else end)
