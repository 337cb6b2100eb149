"""What held each op and each wait back in the trace: the constraints that a replay keeps.

All delays are as observed, less their share of the profiler's cost. With no cost to take out,
every constraint is met with equality or slack by the trace itself, so that the replay is the trace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trace_timing.call_names import COPYING
from trace_timing.memo import once
from trace_timing.timeline.host_costs import call_costs, call_kinds
from trace_timing.timeline.intervals import outermost
from trace_timing.timeline.lanes import lanes_of
from trace_timing.timeline.layout import RunTimeline
from trace_timing.timeline.overhead import CostModel
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.units import BoolArray, IntArray

#: Longer than this past its launch and its stream's last op, an op was held up by something else.
_UNEXPLAINED_NS = 20_000
#: No op lasted less than this in the past of another that it was told to wait for (clock skew).
_SKEW_NS = 1_000
_LOW_QUANTILE = 0.1


@dataclass(frozen=True, kw_only=True)
class OpRules:
    """Of m ops in replay order: op i starts at the latest of its predecessor's end plus `gap_ns`,
    its launch plus `latency_ns`, and the end of op `anchor` plus `anchor_gap_ns`."""

    #: Position in RunOps of the i-th op to be replayed.
    order: IntArray
    #: Dense number of the op's (device, stream).
    lane: IntArray
    duration_ns: IntArray
    gap_ns: IntArray
    latency_ns: IntArray
    anchor: IntArray
    anchor_gap_ns: IntArray
    start_ns: IntArray
    end_ns: IntArray
    launch_ns: IntArray

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True)
class _ObservedOps:
    """Constraints as they were observed, and what says how much of them was cost."""

    rules: OpRules
    #: Whether each op waited for its predecessor on the stream.
    queued: BoolArray
    #: Which of CALL_KINDS launched it, NONE where the launch is missing.
    launch_kind: IntArray
    of_graph: BoolArray


def op_rules(trace: Trace, run: RunTimeline, costs: CostModel) -> OpRules:
    """Constraints of a run's ops, by observed start."""
    seen = _observed_ops(trace, run)
    each, node = round(costs.device_op_ns), round(costs.graph_node_ns)
    # The launch's own cost is paid between its begin and its effect, and so is half of what a
    # wait takes longer; the other half lies before the return.
    share = np.append(np.rint(call_costs(costs) + costs.wait_ns / 2), 0).astype(np.int64)
    return replace(
        seen.rules,
        gap_ns=seen.rules.gap_ns - np.where(seen.queued, np.where(seen.of_graph, node, each), 0),
        latency_ns=_less(seen.rules.latency_ns, share[seen.launch_kind]),
    )


@once
def _observed_ops(trace: Trace, run: RunTimeline) -> _ObservedOps:
    events, ops = trace.events, run.ops
    seen_from = np.maximum(ops.start_ns, ops.launch_ns)
    order = np.argsort(seen_from, kind="stable")
    rows, launch_row = ops.row[order], ops.launch_row[order]
    start, end, launch = ops.start_ns[order], ops.end_ns[order], ops.launch_ns[order]
    _, lane = lanes_of(events.device[rows], events.stream[rows])
    before = _previous(lane)
    has = before != NONE
    previous_end = np.where(has, end[before], np.int64(np.iinfo(np.int64).min // 2))
    since_launch, since_previous = start - launch, start - previous_end
    on_idle = ~has | (previous_end <= launch)
    least, typical = _latencies(since_launch[on_idle & (launch_row != NONE)])
    queued = has & (previous_end >= launch + least)
    typical_gap = _median(since_previous[queued & (since_previous < _UNEXPLAINED_NS)])
    anchor = _anchors(start, end, launch, queued, since_launch, since_previous, typical)
    held = anchor != NONE
    latency = np.where(queued | held, np.minimum(typical, since_launch), since_launch)
    gap = np.where(queued & ~held, since_previous, np.minimum(typical_gap, since_previous))
    rules = OpRules(
        order=order,
        lane=lane,
        duration_ns=end - start,
        gap_ns=np.where(has, gap, 0),
        latency_ns=latency,
        anchor=anchor,
        anchor_gap_ns=np.where(held, start - end[np.maximum(anchor, 0)], 0),
        start_ns=start,
        end_ns=end,
        launch_ns=launch,
    )
    linked = launch_row != NONE
    kind = np.where(linked, call_kinds(trace, launch_row), NONE)
    return _ObservedOps(
        rules, queued, kind, linked & calls_that(trace, launch_row, {"graph_launch"})
    )


def _previous(lane: IntArray) -> IntArray:
    """The op before each on its lane, NONE for the first."""
    by_lane = np.argsort(lane, kind="stable")
    before = np.full(len(lane), NONE, np.int64)
    same = lane[by_lane][1:] == lane[by_lane][:-1]
    before[by_lane[1:][same]] = by_lane[:-1][same]
    return before


def _latencies(since_launch: IntArray) -> tuple[int, int]:
    """Least (but for outliers) and median launch → start of ops that nothing else held up."""
    if not len(since_launch):
        return 0, 0
    return int(np.quantile(since_launch, _LOW_QUANTILE)), int(np.median(since_launch))


def _median(values: IntArray) -> int:
    return int(np.median(values)) if len(values) else 0


def _anchors(
    start: IntArray,
    end: IntArray,
    launch: IntArray,
    queued: BoolArray,
    since_launch: IntArray,
    since_previous: IntArray,
    typical: int,
) -> IntArray:
    """The op that ended last before each op that neither launch nor stream explains, else NONE.

    Kineto names what a stream waited for only where sync events are recorded; the op whose end
    released this one is the last that ended before it began.
    """
    late = np.where(queued, since_previous, since_launch - typical) > _UNEXPLAINED_NS
    anchor = np.full(len(start), NONE, np.int64)
    rows = np.flatnonzero(late)
    if not len(rows):
        return anchor
    by_end = np.argsort(end, kind="stable")
    found = np.searchsorted(end[by_end], start[rows] + _SKEW_NS, side="right") - 1
    candidate = by_end[np.maximum(found, 0)]
    good = (found >= 0) & (candidate < rows) & (end[candidate] > launch[rows])
    anchor[rows[good]] = candidate[good]
    return anchor


def _less(delay: IntArray, share: IntArray) -> IntArray:
    """A delay without its share of the cost; nothing takes effect before it is asked for."""
    return np.where(delay > 0, np.maximum(delay - share, np.minimum(delay, 0)), delay)


@dataclass(frozen=True, kw_only=True)
class Waits:
    """The w calls that hold a thread up until the device gets somewhere, by return.

    Call k returns at the later of its begin plus `own_ns` and, where it waits for anything, the end
    of what it waits for plus `delay_ns`.
    """

    begin_ns: IntArray
    return_ns: IntArray
    #: What the call takes where the device has long finished.
    own_ns: IntArray
    delay_ns: IntArray
    #: Position in OpRules of the op waited for, NONE where nothing was.
    target: IntArray

    def __len__(self) -> int:
        return len(self.begin_ns)


@dataclass(frozen=True)
class _ObservedWaits:
    """Waits as they were observed, and what says how much of them was cost."""

    waits: Waits
    #: Which of CALL_KINDS each call is, and whether it waited for an op of its own.
    kind: IntArray
    for_itself: BoolArray


def find_waits(trace: Trace, run: RunTimeline, costs: CostModel) -> Waits:
    """The waiting calls of a run's generating thread and what each waited for.

    A synchronizing call waits for the last op launched before it began that it can be seen to
    have waited for: the one that ended last before it returned. A copy waits for itself where it
    returned after its own op ended (blocking, or from pageable memory).
    """
    seen = _observed_waits(trace, run)
    cost = np.rint(call_costs(costs)).astype(np.int64)[seen.kind]
    # What a copy costs is paid before its own op begins, and taken out there.
    share = np.where(seen.for_itself, 0, cost) + round(costs.wait_ns / 2)
    return replace(
        seen.waits,
        own_ns=_less(seen.waits.own_ns, cost),
        delay_ns=_less(seen.waits.delay_ns, share),
    )


@once
def _observed_waits(trace: Trace, run: RunTimeline) -> _ObservedWaits:
    events, rules = trace.events, _observed_ops(trace, run).rules
    rows, own_op = _waiting_calls(trace, run, rules)
    begin, end = events.start_ns[rows], events.end_ns[rows]
    target = np.where(own_op != NONE, own_op, _last_ended(rules, begin, end))
    finish = np.where(target != NONE, rules.end_ns[np.maximum(target, 0)], begin)
    held = (target != NONE) & (finish > begin) & (finish <= end)
    delay = end - finish
    usual = _median(delay[held])
    waits = Waits(
        begin_ns=begin,
        return_ns=end,
        own_ns=_own_durations(events.name[rows].astype(np.int64), end - begin, held),
        delay_ns=np.where(held, delay, np.minimum(usual, delay)),
        target=np.where(finish <= end, target, NONE),
    )
    return _ObservedWaits(waits, call_kinds(trace, rows), own_op != NONE)


def _waiting_calls(trace: Trace, run: RunTimeline, rules: OpRules) -> tuple[IntArray, IntArray]:
    """Rows of the calls, by return, and for copies the op that is their own."""
    events = trace.events
    calls = events.rows(Kind.CALL)
    begins = events.start_ns[calls]
    inside = (begins >= run.window_start_ns) & (begins < run.window_end_ns)
    calls = calls[inside & (events.thread[calls] == run.generating_thread)]
    syncing = calls[calls_that(trace, calls, {"sync", "free"})]
    launch_row = run.ops.launch_row[rules.order]
    linked = (launch_row != NONE) & (events.thread[launch_row] == run.generating_thread)
    own = np.flatnonzero(linked & calls_that(trace, np.maximum(launch_row, 0), COPYING))
    waited = rules.end_ns[own] <= events.end_ns[launch_row[own]]
    own = own[waited]
    rows = np.concatenate([syncing, launch_row[own]])
    target = np.concatenate([np.full(len(syncing), NONE, np.int64), own])
    outer = outermost(events.start_ns[rows], events.end_ns[rows])
    by_return = outer[np.argsort(events.end_ns[rows[outer]], kind="stable")]
    return rows[by_return], target[by_return]


def _last_ended(rules: OpRules, begin: IntArray, returned: IntArray) -> IntArray:
    """Of the ops launched before each call began, the one that ended last before it returned."""
    by_end = np.argsort(rules.end_ns, kind="stable")
    found = np.searchsorted(rules.end_ns[by_end], returned, side="right") - 1
    target = np.where(found >= 0, by_end[np.maximum(found, 0)], NONE)
    early = rules.launch_ns[np.maximum(target, 0)] < begin if len(rules) else target < 0
    return np.where((target != NONE) & early, target, NONE)


def _own_durations(name: IntArray, duration: IntArray, held: BoolArray) -> IntArray:
    """What each call takes by itself: its duration, or where the device held it up the least that
    a call of its name took."""
    own = duration.copy()
    for number in np.unique(name[held]):
        mine = name == number
        free = duration[mine & ~held]
        least = int(np.quantile(free, _LOW_QUANTILE)) if len(free) else 0
        own[mine & held] = np.minimum(duration[mine & held], least)
    return own
