"""Which steps of a run have no figures because recording was switched off and on again.

The recorder marks the gaps in the trace (trace.marks). A numbered step that overlaps a gap was not
recorded, and the guard step after a gap is not counted; ranges of a stage without numbers get the
step NOT_COUNTED there. An op or launch without its partner next to a switch makes its step unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trace_timing.arrays import BoolArray, IntArray
from trace_timing.timeline.build.attribution import HostMap
from trace_timing.timeline.build.model import (
    NOT_COUNTED,
    RunOps,
    StageKey,
    StageRange,
    Unrecorded,
)
from trace_timing.trace.events import Trace
from trace_timing.trace.integrity.counts import lost_at_switches
from trace_timing.trace.links import gpu_op_rows, launch_rows
from trace_timing.trace.marks import Marks, Spans, marks_of


def ops_at_switches(trace: Trace, linked: BoolArray) -> BoolArray:
    """Which ops lost their launch at a switch: they have none, and start in a gap or before the
    last op of the guard step after it ends.

    Args:
        linked: whether each of the trace's GPU ops, by start (links.gpu_op_rows), has a launch.
    """
    events, marks = trace.events, marks_of(trace)
    lost = np.zeros(len(linked), np.bool_)
    if not len(marks.off) or linked.all():
        return lost
    rows = gpu_op_rows(events)
    start, end = events.start_ns[rows], events.end_ns[rows]
    launch = np.where(linked, events.start_ns[launch_rows(events)], start)
    for number in range(len(marks.off)):
        until = int(marks.off.end_ns[number])
        if guard := marks.guard_after(number):
            own = linked & (launch >= guard[0]) & (launch < guard[1])
            until = max(guard[1], int(end[own].max(initial=until)))
        lost |= ~linked & (start >= marks.off.start_ns[number]) & (start < until)
    return lost


def unrecorded_keys(
    trace: Trace,
    keys: Sequence[StageKey],
    ranges: Sequence[StageRange],
    hosts: HostMap,
    ops: RunOps,
    orphans: BoolArray,
) -> dict[int, Unrecorded]:
    """Why figures of a run's keys are not known, by index; empty where all was recorded.

    Args:
        ranges: the run's own stage ranges, by begin.
        orphans: whether each of its ops lost its launch at a switch.
    """
    marks = marks_of(trace)
    if not len(marks) or not ranges:
        return {}
    reasons = dict(_by_marks(keys, ranges, marks))
    steps = {*_of_lost_launches(trace, hosts, ranges), *_beside_orphans(ops, orphans, len(keys))}
    spoiled = {keys[key].step for key in steps if keys[key].step is not None} - {NOT_COUNTED}
    mine = {r.key for r in ranges if r.key is not None}
    for key in mine:
        if keys[key].step in spoiled:
            reasons.setdefault(key, "recording_switch")
    return reasons


def _by_marks(
    keys: Sequence[StageKey], ranges: Sequence[StageRange], marks: Marks
) -> Iterator[tuple[int, Unrecorded]]:
    """Keys of the steps that overlap a gap or a guard step, and which of the two."""
    mine = [r for r in ranges if r.key is not None and keys[r.key].step is not None]
    start = np.array([r.start_ns for r in mine], np.int64)
    end = np.array([r.end_ns for r in mine], np.int64)
    reasons: Mapping[Unrecorded, Spans] = {
        "recording_guard": marks.guard,
        "recording_off": marks.off,  # last, so that it wins where a step overlaps both
    }
    for reason, spans in reasons.items():
        for row in np.flatnonzero(spans.meet(start, end)).tolist():
            yield mine[row].key, reason  # type: ignore[misc]


def _of_lost_launches(trace: Trace, hosts: HostMap, ranges: Sequence[StageRange]) -> Iterator[int]:
    """Keys of the launches that lost their op at a switch."""
    rows = lost_at_switches(trace)
    begin, end = min(r.start_ns for r in ranges), max(r.end_ns for r in ranges)
    at = trace.events.start_ns[rows]
    rows = rows[(at >= begin) & (at < end)]
    placed = hosts.place(trace.events.thread[rows], trace.events.start_ns[rows])
    yield from placed.key[placed.key >= 0].tolist()


def _beside_orphans(ops: RunOps, orphans: BoolArray, keys: int) -> IntArray:
    """Keys in which an orphan runs between the first op's start and the last op's end."""
    if not orphans.any():
        return np.empty(0, np.int64)
    limits = np.iinfo(np.int64)
    first, last = np.full(keys, limits.max), np.full(keys, limits.min)
    np.minimum.at(first, ops.key[~orphans], ops.start_ns[~orphans])
    np.maximum.at(last, ops.key[~orphans], ops.end_ns[~orphans])
    met = np.zeros(keys, np.bool_)
    for row in np.flatnonzero(orphans):
        met |= (first < ops.end_ns[row]) & (last > ops.start_ns[row])
    return np.flatnonzero(met)
