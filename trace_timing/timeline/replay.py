"""Replay: a run's host and device timelines rebuilt without the cost of being recorded.

Max-plus algebra in arrays. Between two waits a thread's instants move together, and on a stream

    end[i] = max(end[i−1] + gap[i], launch[i] + latency[i]) + duration[i]

is, with T the running sum of gaps and durations, T + running maximum of (launch + latency +
duration − T): one pass of `maximum.accumulate` per stretch between waits, whatever its length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trace_timing.timeline.host_costs import HostClock, host_clock
from trace_timing.timeline.layout import HostTimeline, RunOps, RunTimeline, StageRange
from trace_timing.timeline.overhead import CostModel, Pair
from trace_timing.timeline.replay_order import OpRules, Waits, find_waits, op_rules
from trace_timing.timeline.runs import tile_ops
from trace_timing.trace.events import NONE, Trace
from trace_timing.units import IntArray

_NEVER = np.int64(np.iinfo(np.int64).min // 4)


def replay(trace: Trace, run: RunTimeline, costs: CostModel) -> RunTimeline:
    """The run as it would have been unrecorded, tiled by the same rules.

    Ops keep their durations. Other threads keep their place among the generating thread's
    instants. With costs of zero the result is the run itself.

    Args:
        trace: with CPU ops where the profile recorded them (mode `full`): each has its cost.
        run: one of `runs.lay_out(trace).runs`.
    Returns:
        The run with new times of ops, ranges, host boundaries and window, and new `cells`;
        `device_cells` are not made again and come back empty.
    """
    ops, host = _moved(trace, run, costs)
    return _rebuilt(run, ops, host)


def pair_of(trace: Trace, run: RunTimeline, costs: CostModel, control_ns: int) -> Pair:
    """A profiled run beside its control's total: what the costs say was added, by what scales."""
    profiled = run.window_end_ns - run.window_start_ns
    free, scaled = (_length(trace, run, costs.scaled(factor)) for factor in (0.0, 1.0))
    return Pair(
        profiled_ns=profiled,
        control_ns=control_ns,
        predicted_ns=free - scaled,
        fixed_ns=profiled - free,
    )


def _length(trace: Trace, run: RunTimeline, costs: CostModel) -> int:
    """How long the replayed run is, untiled."""
    ops, host = _moved(trace, run, costs)
    begin, end = _window(run, ops, _moved_ranges(run.ranges, host), _generate(run, host))
    return end - begin


def _moved(trace: Trace, run: RunTimeline, costs: CostModel) -> tuple[RunOps, _HostMap]:
    """The ops where they would have been, and where every instant of the host has gone."""
    rules = op_rules(trace, run, costs)
    end_ns, host = _advance(rules, find_waits(trace, run, costs), host_clock(trace, run, costs))
    return _moved_ops(run.ops, rules, end_ns, host), host


@dataclass(frozen=True)
class _HostMap:
    """Instants of the generating thread → replayed instants.

    Outside waits an instant moves by the clock and by the shift of the last wait before it; within
    one it lies where it lay in proportion.
    """

    clock: HostClock
    begin_ns: IntArray
    return_ns: IntArray
    new_begin_ns: IntArray
    new_return_ns: IntArray
    shift_ns: IntArray

    def __call__(self, times_ns: IntArray) -> IntArray:
        last = np.searchsorted(self.return_ns, times_ns, side="right")
        new: IntArray = self.clock(times_ns) + np.concatenate([[0], self.shift_ns])[last]
        if not len(self.begin_ns):
            return new
        at = np.minimum(last, len(self.begin_ns) - 1)
        begin, new_begin = self.begin_ns[at], self.new_begin_ns[at]
        inside = (last < len(self.begin_ns)) & (times_ns > begin)
        whole = np.maximum(self.return_ns[at] - begin, 1)
        part = (times_ns - begin) / whole * (self.new_return_ns[at] - new_begin)
        moved: IntArray = np.where(inside, new_begin + np.rint(part).astype(np.int64), new)
        return moved


class _Device:
    """Ends of the ops of all streams, computed in stretches, each known only once asked for."""

    def __init__(self, rules: OpRules, launch_ns: IntArray, wait_before: IntArray) -> None:
        self._rules = rules
        self._lanes = int(rules.lane.max(initial=-1)) + 1
        step = rules.gap_ns + rules.duration_ns
        self._sum = np.zeros(len(rules), np.int64)
        for lane in range(self._lanes):
            mine = rules.lane == lane
            self._sum[mine] = np.cumsum(step[mine])
        self._base = launch_ns + rules.latency_ns + rules.duration_ns - self._sum
        self._wait_before = wait_before
        self._carry = [_NEVER] * self._lanes
        self._anchored = np.flatnonzero(rules.anchor != NONE)
        self._next_anchored = 0
        self._done = 0
        self.end_ns = np.zeros(len(rules), np.int64)

    def advance(self, until: int, shifts: IntArray) -> None:
        """Compute ops up to a number, given the shifts (one after each wait, the first 0)."""
        while self._done < until:
            stop = self._stretch(until)
            ready = self._base[self._done : stop] + shifts[self._wait_before[self._done : stop]]
            if self._rules.anchor[self._done] != NONE:
                ready[0] = max(ready[0], self._released(self._done))
            self._scan(self._done, stop, ready)
            self._done = stop

    def _stretch(self, until: int) -> int:
        """Where the next stretch ends: at most one anchored op in it, its first."""
        anchored = self._anchored
        while self._next_anchored < len(anchored) and anchored[self._next_anchored] <= self._done:
            self._next_anchored += 1
        if self._next_anchored == len(anchored):
            return until
        return min(until, int(anchored[self._next_anchored]))

    def _released(self, op: int) -> int:
        rules = self._rules
        free = self.end_ns[rules.anchor[op]] + rules.anchor_gap_ns[op]
        return int(free + rules.duration_ns[op] - self._sum[op])

    def _scan(self, begin: int, stop: int, ready: IntArray) -> None:
        if self._lanes == 1:
            reached = np.maximum.accumulate(np.maximum(ready, self._carry[0]))
            self._carry[0] = reached[-1]
            np.add(reached, self._sum[begin:stop], out=self.end_ns[begin:stop])
            return
        lanes = self._rules.lane[begin:stop]
        for lane in np.unique(lanes):
            mine = np.flatnonzero(lanes == lane)
            reached = np.maximum.accumulate(np.maximum(ready[mine], self._carry[lane]))
            self._carry[lane] = reached[-1]
            self.end_ns[begin + mine] = reached + self._sum[begin + mine]


def _advance(rules: OpRules, waits: Waits, clock: HostClock) -> tuple[IntArray, _HostMap]:
    """Walk from wait to wait; between two of them everything is one array.

    Returns:
        Ends of the ops in replay order, and where every instant of the host has gone.
    """
    device = _Device(
        rules, clock(rules.launch_ns), np.searchsorted(waits.return_ns, rules.launch_ns, "right")
    )
    begin, returned = clock(waits.begin_ns), clock(waits.return_ns)
    shifts = np.zeros(len(waits) + 1, np.int64)
    seen_from = np.maximum(rules.start_ns, rules.launch_ns)
    reach = np.searchsorted(seen_from, waits.return_ns, side="left").tolist()
    own, delay, target = waits.own_ns.tolist(), waits.delay_ns.tolist(), waits.target.tolist()
    for k, op in enumerate(target):
        ready = begin[k] + shifts[k] + own[k]
        if op != NONE:
            device.advance(max(reach[k], op + 1), shifts)
            ready = max(ready, device.end_ns[op] + delay[k])
        shifts[k + 1] = ready - returned[k]
    device.advance(len(rules), shifts)
    host = _HostMap(
        clock,
        waits.begin_ns,
        waits.return_ns,
        begin + shifts[:-1],
        returned + shifts[1:],
        shifts[1:],
    )
    return device.end_ns, host


def _rebuilt(run: RunTimeline, ops: RunOps, moved: _HostMap) -> RunTimeline:
    ranges = _moved_ranges(run.ranges, moved)
    boundary = np.maximum.accumulate(moved(run.host.boundary_ns))
    host = HostTimeline(boundary, run.host.key)
    generate = _generate(run, moved)
    window = _window(run, ops, ranges, generate)
    outside = len(run.keys) - (2 if len(run.keys) > 2 else 1)
    return replace(
        run,
        window_start_ns=window[0],
        window_end_ns=window[1],
        generate_start_ns=generate[0] if generate else None,
        generate_end_ns=generate[1] if generate else None,
        ranges=ranges,
        host=host,
        ops=ops,
        cells=tile_ops(window, ops, host, outside_key=outside),
        device_cells={},
    )


def _moved_ops(ops: RunOps, rules: OpRules, end_ns: IntArray, host: _HostMap) -> RunOps:
    end = np.empty(len(ops), np.int64)
    end[rules.order] = end_ns
    start = end - (ops.end_ns - ops.start_ns)
    launch = host(ops.launch_ns)
    order = np.argsort(start, kind="stable")
    return RunOps(
        row=ops.row[order],
        start_ns=start[order],
        end_ns=end[order],
        launch_ns=launch[order],
        launch_row=ops.launch_row[order],
        key=ops.key[order],
        device=ops.device[order],
    )


def _moved_ranges(ranges: tuple[StageRange, ...], host: _HostMap) -> tuple[StageRange, ...]:
    starts = host(np.array([r.start_ns for r in ranges], np.int64)).tolist()
    ends = host(np.array([r.end_ns for r in ranges], np.int64)).tolist()
    return tuple(
        replace(item, start_ns=start, end_ns=end)
        for item, start, end in zip(ranges, starts, ends, strict=True)
    )


def _generate(run: RunTimeline, host: _HostMap) -> tuple[int, int] | None:
    if run.generate_start_ns is None or run.generate_end_ns is None:
        return None
    new = host(np.array([run.generate_start_ns, run.generate_end_ns], np.int64))
    return int(new[0]), int(new[1])


def _window(
    run: RunTimeline,
    ops: RunOps,
    ranges: tuple[StageRange, ...],
    generate: tuple[int, int] | None,
) -> tuple[int, int]:
    """The replayed run's window, by the rule that gave the run its own (timeline.runs)."""
    attributed = ops.key != len(run.keys) - 1
    if generate is not None:
        return generate[0], int(ops.end_ns[attributed].max(initial=generate[1]))
    if not attributed.any():
        attributed[:] = not ranges
    starts = [*(r.start_ns for r in ranges), *ops.start_ns[attributed][:1].tolist()]
    ends = [*(r.end_ns for r in ranges), *ops.end_ns[attributed].tolist()]
    if not starts:
        return run.window_start_ns, run.window_end_ns
    return min(starts), max(ends)
