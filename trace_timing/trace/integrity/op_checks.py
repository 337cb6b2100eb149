"""Checks of GPU ops against each other for what no device can do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trace_timing.api_call_names import LAUNCHING, CallRole
from trace_timing.arrays import BoolArray, IntArray
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import NONE, Events, Kind, Trace
from trace_timing.trace.integrity.check import Found, event_text, passed
from trace_timing.trace.integrity.counts import STREAM_OVERLAP_NS, check_integrity
from trace_timing.trace.integrity.linked import linked_ops
from trace_timing.trace.links import gpu_op_rows

#: Shortest duplicates in traces of whole µs: shorter ops of one stream can have the same begin.
ROUNDED_DUR_NS = 10_000
#: Ratio to the longest other op from which on a stream's last op is odd: no next op bounds its end.
LAST_OP_TIMES = 20
LEAST_OTHERS = 8
#: A fall by more is the counter of calls that begins again at 2³²: a server gets there in days.
COUNTER_WRAP = 2**31
_OF_ONE_KERNEL: frozenset[CallRole] = frozenset({"launch"})
_Column = npt.NDArray[np.integer]


def overlong_ops(trace: Trace) -> Found:
    """Ops that end after the next op of their stream has started."""
    counts = check_integrity(trace)
    if not counts.overlong_ops:
        return passed(f"{len(gpu_op_rows(trace.events))} GPU ops")
    return Found(
        count=counts.overlong_ops,
        evidence=f"{counts.overlong_ops} ops, {counts.overlong_ns} ns in all, beyond "
        f"the {STREAM_OVERLAP_NS} ns that overlapping launches explain",
    )


def zero_length_ops(trace: Trace) -> Found:
    """Ops of no length; in traces of whole µs short ones may have none."""
    events, ops = trace.events, gpu_op_rows(trace.events)
    empty = ops[events.dur_ns[ops] == 0]
    if not len(empty) or trace.info.rounded_to_us:
        return passed(f"{len(ops)} GPU ops")
    first = event_text(trace, int(empty[0]))
    return Found(count=len(empty), evidence=f"{len(empty)} of {len(ops)} ops, the first {first}")


def doubled_events(trace: Trace) -> Found:
    """Ops of one stream, or calls of one thread, with the same name, start and length."""
    events = trace.events
    ops = gpu_op_rows(events)
    linked = linked_ops(trace)
    # Nodes of a graph may start together, and some traces do not number them.
    ops = ops[~np.isin(ops, linked.op[linked.in_graph])]
    calls = events.rows(Kind.CALL)
    if trace.info.rounded_to_us:
        ops = ops[events.dur_ns[ops] >= ROUNDED_DUR_NS]
        calls = calls[events.dur_ns[calls] >= ROUNDED_DUR_NS]
    again = np.concatenate(
        [
            _repeated(events, ops, events.device[ops], events.stream[ops]),
            _repeated(events, calls, events.thread[calls], events.correlation[calls]),
        ]
    )
    if not len(again):
        return passed(f"{len(ops)} ops and {len(calls)} calls, each once")
    first = event_text(trace, int(again[0]))
    return Found(
        count=len(again), evidence=f"{len(again)} of {len(ops) + len(calls)}, the first {first}"
    )


def _repeated(events: Events, rows: IntArray, *places: _Column) -> IntArray:
    """The rows that equal an earlier one in place, name and time."""
    together = _share_a_start(events.start_ns[rows])
    if not together.any():
        return rows[:0]
    rows = rows[together]
    columns: tuple[_Column, ...] = (
        *(place[together] for place in places),
        events.name[rows],
        events.dur_ns[rows],
        events.start_ns[rows],
    )
    order = np.lexsort(columns)
    same = np.ones(len(rows) - 1, np.bool_)
    for column in columns:
        same &= column[order][1:] == column[order][:-1]
    return rows[order][1:][same]


def _share_a_start(start_ns: IntArray) -> BoolArray:
    """Which of n events start when another does: few, so that only these need be compared."""
    order = np.argsort(start_ns, kind="stable")
    ordered = start_ns[order]
    again = np.flatnonzero(ordered[1:] == ordered[:-1])
    shared = np.zeros(len(start_ns), np.bool_)
    shared[order[again]] = True
    shared[order[again + 1]] = True
    return shared


def out_of_order(trace: Trace) -> Found:
    """Ops of one stream that start before one that the same thread launched earlier."""
    events, linked = trace.events, linked_ops(trace)
    op, launch = linked.op[~linked.in_graph], linked.launch[~linked.in_graph]
    columns = (events.start_ns[launch], events.thread[launch], events.stream[op], events.device[op])
    order = np.lexsort(columns)
    op, launch = op[order], launch[order]
    same = launch[1:] != launch[:-1]
    for column in columns[1:]:
        same &= column[order][1:] == column[order][:-1]
    early_ns = events.start_ns[op][:-1] - events.start_ns[op][1:]
    early = same & (early_ns > STREAM_OVERLAP_NS)
    if not early.any():
        return passed(f"{len(op)} ops in the order of their launches")
    worst = int(np.argmax(np.where(early, early_ns, 0)))
    return Found(
        count=int(early.sum()),
        evidence=f"{int(early.sum())} ops, one {int(early_ns[worst])} ns before "
        f"{event_text(trace, int(op[worst]))}, which was launched earlier",
    )


def falling_ids(trace: Trace) -> Found:
    """Launches with a lower id than one before them on their thread: calls are counted up."""
    events = trace.events
    launch = linked_ops(trace).launch
    columns = (events.correlation[launch], events.start_ns[launch], events.thread[launch])
    launch = launch[np.lexsort(columns)]
    ids = events.correlation[launch]
    # Not as a difference of two, which may not fit 64 bits.
    falls = (ids[1:] < ids[:-1]) & (ids[1:] > ids[:-1] - COUNTER_WRAP)
    falls &= events.thread[launch][1:] == events.thread[launch][:-1]
    if not falls.any():
        return passed(f"{len(launch)} ops, the ids of each thread's launches ascend")
    first = int(np.argmax(falls))
    return Found(
        count=int(falls.sum()),
        evidence=f"{int(falls.sum())} launches, id {int(ids[first + 1])} after {int(ids[first])}: "
        f"{event_text(trace, int(launch[first + 1]))}",
    )


def launches_without_id(trace: Trace) -> Found:
    """Launches without a correlation id, in a trace that has launches with one."""
    events = trace.events
    calls = events.rows(Kind.CALL)
    calls = calls[calls_that(trace, calls, LAUNCHING)]
    without = calls[events.correlation[calls] == NONE]
    if not len(without) or len(without) == len(calls):
        return passed(f"{len(calls)} launches, {len(calls) - len(without)} with an id")
    return Found(
        count=len(without),
        evidence=f"{len(without)} of {len(calls)}, the first {event_text(trace, int(without[0]))}",
    )


def shared_launches(trace: Trace) -> Found:
    """Ops that share a launch of a single kernel."""
    events, linked = trace.events, linked_ops(trace)
    single = ~linked.in_graph & calls_that(trace, linked.launch, _OF_ONE_KERNEL)
    op, launch = linked.op[single], linked.launch[single]
    # A cooperative launch starts one kernel on each of several devices; an op without a device,
    # which sorts first, may be on any.
    order = np.lexsort((events.device[op], launch))
    op, launch = op[order], launch[order]
    device = events.device[op]
    shared = (device[1:] == device[:-1]) | (device[:-1] == NONE)
    shared &= launch[1:] == launch[:-1]
    if not shared.any():
        return passed(f"{len(op)} ops of kernel launches, each with a launch of its own")
    first = int(launch[1:][shared][0])
    return Found(
        count=int(shared.sum()),
        evidence=f"{int(shared.sum())} of {len(op)} ops; {int((launch == first).sum())} of "
        f"them share {event_text(trace, first)}, which is no graph",
    )


def long_last_ops(trace: Trace) -> Found:
    """Last ops of a stream that are much longer than every other op of the trace."""
    events = trace.events
    ops = gpu_op_rows(events)
    if len(ops) <= LEAST_OTHERS:
        return passed(f"{len(ops)} GPU ops: too few to compare with")
    places = np.lexsort((events.start_ns[ops], events.stream[ops], events.device[ops]))
    rows = ops[places]
    last = np.ones(len(rows), np.bool_)
    last[:-1] = (events.stream[rows][1:] != events.stream[rows][:-1]) | (
        events.device[rows][1:] != events.device[rows][:-1]
    )
    longest = int(events.dur_ns[rows[~last]].max(initial=0))
    odd = rows[last & (events.dur_ns[rows] > LAST_OP_TIMES * longest)] if longest else rows[:0]
    if not len(odd):
        return passed(f"the longest op before a last one takes {longest} ns")
    return Found(
        count=len(odd),
        evidence=f"{event_text(trace, int(odd[0]))} takes {int(events.dur_ns[odd[0]])} ns, "
        f"the longest of the others {longest} ns",
    )
