"""Checks of the times of GPU ops against the host's: in causal order, and soon enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.api_call_names import CallRole
from trace_timing.arrays import BoolArray, IntArray
from trace_timing.memoize import cached_per_object
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import Kind, Trace
from trace_timing.trace.integrity.check import Found, event_text, passed
from trace_timing.trace.integrity.linked import LinkedOps, linked_ops
from trace_timing.trace.links import gpu_op_rows
from trace_timing.trace.marks import marks_of
from trace_timing.units import NS_PER_MS, NS_PER_S

#: Host and device clocks agree to 3 to 5 µs where they were looked at; ten times that is no longer
#: the distance of two clocks.
SKEW_NS = 50_000
#: A device that is idle starts an op within some µs of its launch. Ranks and events of others made
#: one wait up to 65 ms in public traces.
LONG_WAIT_NS = 100 * NS_PER_MS
ABSURD_WAIT_NS = NS_PER_S
#: Of the last op, where its wait is longer than all that ran before.
LEAST_LAST_WAIT_NS = NS_PER_MS
_LEAST_OPS = 8
_WAITING: frozenset[CallRole] = frozenset({"sync"})
_BLOCKING: frozenset[CallRole] = frozenset({"blocking_copy"})
_NO_LAUNCH = "no op with a launch"


@dataclass(frozen=True, eq=False)
class _Waits:
    """n ops that end after the return of a call that waited for them, and by how much."""

    op: IntArray
    late_ns: IntArray
    #: Number of waiting calls that could be compared with ops.
    calls: int


def _early_ns(trace: Trace) -> IntArray:
    """Launch begin minus op begin of each linked op; positive: the op began before its launch."""
    events, linked = trace.events, linked_ops(trace)
    return events.start_ns[linked.launch] - events.start_ns[linked.op]


def clock_skew(trace: Trace) -> Found:
    """Ops that begin before their launch, within the tolerance of clocks."""
    return _early(trace, below=True)


def before_launch(trace: Trace) -> Found:
    """Ops that begin before their launch, beyond the tolerance of clocks."""
    return _early(trace, below=False)


def _early(trace: Trace, *, below: bool) -> Found:
    """Ops that begin before their launch, within the tolerance of clocks or beyond."""
    early = _early_ns(trace)
    if not len(early):
        return passed(_NO_LAUNCH)
    worst = int(np.argmax(early))
    most = int(early[worst])
    if most <= 0 or (most <= SKEW_NS) != below:
        return passed(f"launch to start at least {-most} ns")
    count = int((early > 0).sum())
    first = event_text(trace, int(linked_ops(trace).op[worst]))
    return Found(count=count, evidence=f"{count} ops, by up to {most} ns: {first}")


def early_return(trace: Trace) -> Found:
    """Calls that return before an op they waited for ends, within the tolerance of clocks."""
    return _late(trace, below=True)


def after_sync(trace: Trace) -> Found:
    """Calls that return before an op they waited for ends, beyond the tolerance of clocks."""
    return _late(trace, below=False)


def _late(trace: Trace, *, below: bool) -> Found:
    """Calls that return too early, within the tolerance of clocks or beyond."""
    waits = _waits(trace)
    if not waits.calls:
        return passed("no call that is known to wait for an op")
    worst = int(waits.late_ns.max(initial=0))
    if not worst or (worst <= SKEW_NS) != below:
        return passed(f"{waits.calls} calls that wait, each until its ops have ended")
    op = int(waits.op[np.argmax(waits.late_ns)])
    return Found(
        count=len(waits.op),
        evidence=f"{len(waits.op)} calls, by up to {worst} ns: {event_text(trace, op)}",
    )


@cached_per_object
def _waits(trace: Trace) -> _Waits:
    found = [_device_waits(trace), _copy_waits(trace)]
    return _Waits(
        np.concatenate([w.op for w in found]),
        np.concatenate([w.late_ns for w in found]),
        sum(w.calls for w in found),
    )


def _device_waits(trace: Trace) -> _Waits:
    """Calls that wait for all ops of a device whose launch had returned before.

    The device is not recorded, so only traces with one device are checked; on a machine with
    several, only calls during which an op ended.
    """
    events, linked = trace.events, linked_ops(trace)
    calls = events.rows(Kind.CALL)
    calls = calls[calls_that(trace, calls, _WAITING)]
    of_one = np.array([("Stream" in n) or ("Event" in n) for n in trace.names], np.bool_)
    calls = calls[~of_one[events.name[calls]]]
    device = events.device[linked.op]
    if not len(linked) or not len(calls) or (device != device[0]).any():
        return _none()
    order = np.argsort(events.end_ns[linked.launch], kind="stable")
    launched = events.end_ns[linked.launch][order]
    last = _last_so_far(events.end_ns[linked.op[order]])
    place = np.searchsorted(launched, events.start_ns[calls], side="right") - 1
    if len(trace.info.devices) > 1:
        ends = np.sort(events.end_ns[linked.op], kind="stable")
        ended = np.searchsorted(ends, events.end_ns[calls], side="right")
        place[ended <= np.searchsorted(ends, events.start_ns[calls], side="right")] = -1
    calls, place = calls[place >= 0], place[place >= 0]
    return _those_late(trace, linked.op[order][last[place]], calls)


def _last_so_far(ends: IntArray) -> IntArray:
    """For each i, the index of the largest of the first i + 1 values."""
    so_far = np.maximum.accumulate(ends)
    return np.maximum.accumulate(np.where(ends == so_far, np.arange(len(ends)), 0))


def _copy_waits(trace: Trace) -> _Waits:
    """Copies to the host whose call returns when they are done, or that a call waits for at once.

    A copy into pageable memory is done when its call returns, one into pinned memory when a wait
    for the stream returns, if that is the thread's next call.
    """
    events, linked = trace.events, linked_ops(trace)
    to_host = np.array(["DtoH" in n or "DeviceToHost" in n for n in trace.names], np.bool_)
    mine = events.kind[linked.op] == Kind.MEMCPY
    mine &= to_host[events.name[linked.op]] if len(linked) else mine
    op, launch = linked.op[mine], linked.launch[mine]
    if not len(op):
        return _none()
    pageable = np.array(["Pageable" in n for n in trace.names], np.bool_)[events.name[op]]
    pageable |= calls_that(trace, launch, _BLOCKING)
    following = _next_calls(trace, launch)
    waits = (following >= 0) & calls_that(trace, np.maximum(following, 0), _WAITING)
    call = np.where(pageable, launch, np.where(waits, following, -1))
    return _those_late(trace, op[call >= 0], call[call >= 0])


def _next_calls(trace: Trace, rows: IntArray) -> IntArray:
    """The next call on the same thread after each of these calls; −1 where there is none.

    Calls inside a call are its driver calls and do not count.
    """
    events = trace.events
    calls = events.rows(Kind.CALL)
    order = np.lexsort((events.start_ns[calls], events.thread[calls]))
    calls = calls[order]
    found = np.full(len(rows), -1, np.int64)
    for thread in np.flatnonzero(np.bincount(events.thread[rows])):
        own = calls[events.thread[calls] == thread]
        mine = events.thread[rows] == thread
        place = np.searchsorted(events.start_ns[own], events.end_ns[rows[mine]], side="left")
        found[mine] = np.append(own, -1)[place]
    return found


def _those_late(trace: Trace, op: IntArray, call: IntArray) -> _Waits:
    late = trace.events.end_ns[op] - trace.events.end_ns[call]
    return _Waits(op[late > 0], late[late > 0], len(call))


def _none() -> _Waits:
    empty = np.empty(0, np.int64)
    return _Waits(empty, empty, 0)


def slow_launches(trace: Trace) -> Found:
    """Whether even the quickest op starts long after its launch; device clock may be ahead."""
    early = _early_ns(trace)
    if len(early) < _LEAST_OPS:
        return passed(f"{len(early)} launches: too few to tell")
    least = int(-early.max())
    if least <= SKEW_NS:
        return passed(f"launch to start at least {least} ns")
    return Found(count=1, evidence=f"of {len(early)} ops the quickest starts after {least} ns")


def long_waits(trace: Trace) -> Found:
    """Ops that start long after their launch though the device is idle."""
    linked, wait = linked_ops(trace), _idle_waits(trace)
    long = (wait > LONG_WAIT_NS) & (wait <= ABSURD_WAIT_NS)
    long |= _late_last(trace, linked, wait) & (wait <= ABSURD_WAIT_NS)
    if not long.any():
        return passed(f"{len(wait)} ops, waits on an idle device {_most(wait)} ns at most")
    return _waited(trace, linked, np.where(long, wait, 0))


def absurd_waits(trace: Trace) -> Found:
    """Ops that start seconds after their launch though the device is idle."""
    linked, wait = linked_ops(trace), _idle_waits(trace)
    absurd = wait > ABSURD_WAIT_NS
    if not absurd.any():
        return passed(f"{len(wait)} ops, waits on an idle device {_most(wait)} ns at most")
    return _waited(trace, linked, np.where(absurd, wait, 0))


def _most(wait: IntArray) -> int:
    return int(wait.max(initial=0))


def _waited(trace: Trace, linked: LinkedOps, wait: IntArray) -> Found:
    """The ops whose wait is not 0, with the longest wait as evidence."""
    count, worst = int((wait > 0).sum()), int(np.argmax(wait))
    op = event_text(trace, int(linked.op[worst]))
    return Found(count=count, evidence=f"{count} ops, {op} after {int(wait[worst])} ns")


@cached_per_object
def _idle_waits(trace: Trace) -> IntArray:
    """For each linked op, the idle time of all devices between its launch and its start.

    Time in which recording was off does not count, since other ops may have run then.
    """
    events, linked = trace.events, linked_ops(trace)
    ops = gpu_op_rows(events)
    before = np.concatenate([[np.iinfo(np.int64).min], np.maximum.accumulate(events.end_ns[ops])])
    place = np.searchsorted(events.start_ns[ops], events.start_ns[linked.op], side="left")
    ready = np.maximum(before[place], events.end_ns[linked.launch])
    start = events.start_ns[linked.op]
    gaps = marks_of(trace).both
    if len(gaps):
        last = np.concatenate([[np.iinfo(np.int64).min], gaps.end_ns])
        ready = np.maximum(ready, last[np.searchsorted(gaps.end_ns, start, side="right")])
        ready = np.where(gaps.hold(start), start, ready)
    waited: IntArray = start - ready
    return waited


def _late_last(trace: Trace, linked: LinkedOps, wait: IntArray) -> BoolArray:
    """Selects the last op to start, if it waited longer than all before it took."""
    events = trace.events
    found = np.zeros(len(linked), np.bool_)
    if len(linked) < _LEAST_OPS:
        return found
    last = len(linked) - 1
    took = int(events.end_ns[linked.op[:last]].max() - events.start_ns[linked.op[0]])
    found[last] = wait[last] > max(took, LEAST_LAST_WAIT_NS)
    return found
