"""How far the host runs ahead: ops launched and not started, and how long a launch takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.records import Stage
from trace_timing.timeline.grouping import stage_of_key, stages_of
from trace_timing.timeline.intervals import Intervals, cut, union
from trace_timing.timeline.layout import RunTimeline, State, Tiles
from trace_timing.units import BoolArray, FloatArray, IntArray, distinct_codes, sorted_distinct


@dataclass(frozen=True)
class Depth:
    """Ops launched and not started over time: from time_ns[i] until the next, depth[i]."""

    time_ns: IntArray
    depth: IntArray


@dataclass(frozen=True, kw_only=True)
class QueueFigures:
    """A row of the table `queue`: how far ahead the host was in one stage."""

    stage: Stage
    gpu_ops: int
    #: Time-weighted over the stage's window; 0 where it has no window.
    mean_depth: float
    max_depth: int
    #: Calls that launched them: a graph launch counts once.
    launches: int
    #: Launches when every earlier op of the run had ended: the device had nothing to do.
    starved_launches: int
    #: Idle time that ended when such an op started: the most that a host that keeps up could win.
    launch_bound_ns: int
    #: Its share of the stage's window; None where that is empty.
    launch_bound_frac: float | None
    #: Launch begins → op starts, of starved launches: others wait for their predecessors.
    latency_p50_ns: float | None
    latency_p95_ns: float | None


#: Parts of a run's window in the table `queue_depth`: enough for a curve on a page, and as many
#: rows for a run of a thousand tokens as for one of ten.
DEPTH_BINS = 200


@dataclass(frozen=True, kw_only=True)
class DepthBin:
    """A row of the table `queue_depth`: the queue in one part of the run's window."""

    bin: int
    #: Since the window's begin.
    start_ns: int
    mean_depth: float
    max_depth: int


def queue_depth(run: RunTimeline) -> Depth:
    """Depth at every instant at which an op is launched or starts.

    A depth below 0 is no mistake here but one of the clocks: an op that starts, by the device's
    clock, before its launch by the host's. It is left to be seen.
    """
    ops = run.ops
    at = sorted_distinct(np.concatenate([ops.launch_ns, ops.start_ns]))
    launched, started = (
        np.bincount(np.searchsorted(at, times), minlength=len(at))
        for times in (ops.launch_ns, ops.start_ns)
    )
    return Depth(at, np.cumsum(launched - started))


def queue_figures(run: RunTimeline) -> tuple[QueueFigures, ...]:
    """One row for each stage of the run that has ops."""
    stages = stages_of(run)
    code_of_key = stage_of_key(run)
    stage = code_of_key[run.ops.key]
    starved = _starved(run)
    latency = run.ops.start_ns - run.ops.launch_ns
    weights = _depth_in_tiles(run, code_of_key, len(stages))
    launch_bound = _launch_bound(run, code_of_key, len(stages))
    rows = []
    for code in distinct_codes(stage):
        own = stage == code
        quick = _percentiles(latency[own & starved])
        area, span, highest = weights[code]
        rows.append(
            QueueFigures(
                stage=stages[code],
                gpu_ops=int(own.sum()),
                mean_depth=area / span if span else 0.0,
                max_depth=highest,
                launches=len(sorted_distinct(run.ops.launch_ns[own])),
                starved_launches=int((own & starved).sum()),
                launch_bound_ns=int(launch_bound[code]),
                launch_bound_frac=int(launch_bound[code]) / span if span else None,
                latency_p50_ns=None if quick is None else float(quick[0]),
                latency_p95_ns=None if quick is None else float(quick[1]),
            )
        )
    return tuple(rows)


def ran_dry(tiles: Tiles) -> BoolArray:
    """By tile: whether it is idle and the queue has been empty since an op last ran."""
    at = np.arange(len(tiles))
    busy, empty = (
        np.maximum.accumulate(np.where(tiles.state == state, at, -1))
        for state in (State.BUSY, State.EMPTY)
    )
    return np.asarray(empty > busy, np.bool_)


def _launch_bound(run: RunTimeline, code_of_key: IntArray, stages: int) -> IntArray:
    tiles, total = run.tiles, np.zeros(stages, np.int64)
    busy = np.flatnonzero(tiles.state == State.BUSY)
    dry = ran_dry(tiles)
    dry[busy[-1] + 1 if len(busy) else 0 :] = False  # nothing starts any more
    np.add.at(total, code_of_key[tiles.key[dry]], (tiles.end_ns - tiles.start_ns)[dry])
    return total


def _percentiles(values: IntArray) -> FloatArray | None:
    return np.percentile(values, [50, 95]) if len(values) else None


def _starved(run: RunTimeline) -> BoolArray:
    """Whether nothing was launched and unfinished when each op was launched.

    Ops of one launch (a graph) count by their first: the others find it in the queue.
    """
    ops = run.ops
    # An op that starts before its launch, by the two clocks, is outstanding from its start.
    outstanding = union(np.minimum(ops.launch_ns, ops.start_ns), ops.end_ns)
    order = np.argsort(ops.launch_ns, kind="stable")
    launch = ops.launch_ns[order]
    first = np.ones(len(ops), np.bool_)
    first[1:] = launch[1:] != launch[:-1]
    begun = [np.searchsorted(outstanding.start_ns, launch, side) for side in ("left", "right")]
    starved = np.zeros(len(ops), np.bool_)
    starved[order] = first & (begun[0] != begun[1])
    return starved


def depth_over_time(run: RunTimeline) -> tuple[DepthBin, ...]:
    """The queue's depth in DEPTH_BINS equal parts of the window; none for a run without ops."""
    if not len(run.ops):
        return ()
    window = run.window_end_ns - run.window_start_ns
    edges = run.window_start_ns + np.arange(DEPTH_BINS + 1, dtype=np.int64) * window // DEPTH_BINS
    area, highest = _depth_in(run, Intervals(edges[:-1], edges[1:], np.arange(DEPTH_BINS)))
    return tuple(
        DepthBin(
            bin=i,
            start_ns=int(edges[i] - run.window_start_ns),
            mean_depth=int(area[i]) / max(int(edges[i + 1] - edges[i]), 1),
            max_depth=int(highest[i]),
        )
        for i in range(DEPTH_BINS)
    )


def _depth_in_tiles(
    run: RunTimeline, code_of_key: IntArray, stages: int
) -> list[tuple[int, int, int]]:
    """By stage: ∫ depth dt, the window it was taken over, the highest depth."""
    tiles, stage = run.tiles, code_of_key[run.tiles.key]
    area, highest = _depth_in(run, Intervals(tiles.start_ns, tiles.end_ns, stage))
    total, span, top = (np.zeros(stages, np.int64) for _ in range(3))
    np.add.at(total, stage, area)
    np.add.at(span, stage, tiles.end_ns - tiles.start_ns)
    np.maximum.at(top, stage, highest)
    return list(zip(total.tolist(), span.tolist(), top.tolist(), strict=True))


def _depth_in(run: RunTimeline, parts: Intervals) -> tuple[IntArray, IntArray]:
    """∫ depth dt in each of n intervals, and the highest depth there; 0 where no op is yet."""
    depth = queue_depth(run)
    ends = np.append(depth.time_ns[1:], max([run.window_end_ns, *depth.time_ns[-1:]]))
    pieces = cut(parts, Intervals(depth.time_ns, ends, depth.depth))
    height = np.where(pieces.by >= 0, np.append(depth.depth, 0)[pieces.by], 0)
    area, highest = np.zeros(len(parts), np.int64), np.zeros(len(parts), np.int64)
    np.add.at(area, pieces.of, height * pieces.dur_ns)
    np.maximum.at(highest, pieces.of, height)
    return area, highest
