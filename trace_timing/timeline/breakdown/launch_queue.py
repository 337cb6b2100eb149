"""How far the host runs ahead: ops launched and not started, and how long a launch takes."""

from __future__ import annotations

import numpy as np

from trace_timing.arrays import BoolArray, FloatArray, IntArray, distinct_codes, sorted_distinct
from trace_timing.memoize import cached_per_object
from trace_timing.schema.breakdown import DepthBin, QueueFigures
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.build.intervals import union
from trace_timing.timeline.build.metrics import run_figures, sums
from trace_timing.timeline.build.model import Cells, RunTimeline, State, Tiles

#: Equal parts of a run's window, a row each in `queue_depth`: enough for a curve on a page, however
#: long the run.
DEPTH_BINS = 200


def queue_figures(run: RunTimeline) -> tuple[QueueFigures, ...]:
    """One row for each stage of the run that has ops."""
    stages = stages_of(run)
    code_of_key = stage_of_key(run)
    stage = code_of_key[run.ops.key]
    starved = _starved(run)
    latency = run.ops.start_ns - run.ops.launch_ns
    area, span, highest = _depth_by_stage(run, code_of_key, len(stages))
    launch_bound = _launch_bound(run, code_of_key, len(stages))
    rows = []
    for code in distinct_codes(stage):
        own = stage == code
        quick = _percentiles(latency[own & starved])
        rows.append(
            QueueFigures(
                stage=stages[code],
                gpu_ops=int(own.sum()),
                mean_depth=area[code].item() / int(span[code]) if span[code] else 0.0,
                max_depth=int(highest[code]),
                launches=len(sorted_distinct(run.ops.launch_ns[own])),
                starved_launches=int((own & starved).sum()),
                launch_bound_ns=int(launch_bound[code]),
                launch_bound_frac=_share(int(launch_bound[code]), int(span[code])),
                latency_p50_ns=None if quick is None else float(quick[0]),
                latency_p95_ns=None if quick is None else float(quick[1]),
            )
        )
    return tuple(rows)


@cached_per_object
def ran_dry(tiles: Tiles) -> BoolArray:
    """Whether each tile is idle and the queue was empty at some time since an op last ran."""
    busy = tiles.state == State.BUSY
    empty = np.cumsum(tiles.state == State.EMPTY)
    before = np.append(0, empty[busy])[np.cumsum(busy)]
    return np.asarray(empty > before, np.bool_)


def _launch_bound(run: RunTimeline, code_of_key: IntArray, stages: int) -> IntArray:
    """Idle ns of each stage in which the device waited for a launch."""
    tiles = run.tiles
    busy = np.flatnonzero(tiles.state == State.BUSY)
    # Idle time after the last op is nobody's wait.
    dry = np.flatnonzero(ran_dry(tiles)[: busy[-1] if len(busy) else 0])
    return sums(code_of_key[tiles.key[dry]], (tiles.end_ns - tiles.start_ns)[dry], stages)


def _percentiles(values: IntArray) -> FloatArray | None:
    return np.percentile(values, [50, 95]) if len(values) else None


def _starved(run: RunTimeline) -> BoolArray:
    """Whether each op was launched when no earlier op was unfinished.

    Of the ops of one launch (a graph) only the first can be: the others have it before them.
    """
    ops = run.ops
    # An op that starts before its launch, by the two clocks, is outstanding from its start.
    outstanding = union(np.minimum(ops.launch_ns, ops.start_ns), ops.end_ns)
    order = np.argsort(ops.launch_ns, kind="stable")
    launch = ops.launch_ns[order]
    first = np.ones(len(ops), np.bool_)
    first[1:] = launch[1:] != launch[:-1]
    begun = np.searchsorted(outstanding.start_ns, launch)
    starved = np.zeros(len(ops), np.bool_)
    starved[order] = first & (np.append(outstanding.start_ns, -1)[begun] == launch)
    return starved


def depth_over_time(run: RunTimeline) -> tuple[DepthBin, ...]:
    """The queue's depth in DEPTH_BINS equal parts of the window; none for a run without ops.

    A part in which recording was off has no row.
    """
    cells = run.cells
    if not len(run.ops) or not len(cells):
        return ()
    window = run.window_end_ns - run.window_start_ns
    bins, (each, rest) = np.arange(DEPTH_BINS + 1, dtype=np.int64), divmod(window, DEPTH_BINS)
    edges = run.window_start_ns + bins * each + bins * rest // DEPTH_BINS
    held = np.minimum(np.searchsorted(cells.edge_ns, edges, "right") - 1, len(cells) - 1)
    depth = _depth(cells)
    until = np.concatenate([[0], np.cumsum(depth * cells.length_ns)])
    area = np.diff(until[held] + depth[held] * (edges - cells.edge_ns[held]))
    # A part's cells: from the one that holds its begin until the one before its end.
    ends = np.maximum(np.searchsorted(cells.edge_ns, edges[1:], "left"), held[:-1] + 1)
    bounds = np.stack([held[:-1], ends], axis=1).ravel()
    highest = np.maximum.reduceat(np.append(cells.depth, 0), bounds)[::2]
    in_gap = run.gaps.meet(edges[:-1], edges[1:])
    columns = (
        edges[:-1] - run.window_start_ns,
        area / np.maximum(np.diff(edges), 1),
        np.maximum(highest, 0),
    )
    return tuple(
        DepthBin(bin=i, start_ns=start, mean_depth=mean, max_depth=most)
        for i, (start, mean, most) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
        if not in_gap[i]
    )


def _depth(cells: Cells) -> IntArray | FloatArray:
    """The depth of each cell, as floats where depth × time could overflow int64.

    A corrupt duration can make a window of centuries.
    """
    window = int(cells.edge_ns[-1]) - int(cells.edge_ns[0])
    deepest = int(np.abs(cells.depth).max())
    return cells.depth if deepest * window < 2**63 else cells.depth.astype(np.float64)


def _depth_by_stage(
    run: RunTimeline, code_of_key: IntArray, stages: int
) -> tuple[IntArray | FloatArray, IntArray, IntArray]:
    """By stage: ∫ depth dt, the window it was taken over, the highest depth (at least 0)."""
    cells, stage = run.cells, code_of_key[run.cells.key]
    highest = np.zeros(stages, np.int64)
    np.maximum.at(highest, stage, cells.depth)
    areas = _depth(cells) * cells.length_ns if len(cells) else cells.length_ns
    area = np.zeros(stages, areas.dtype)
    np.add.at(area, stage, areas)
    return area, sums(code_of_key, run_figures(run).window_ns, stages), highest


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
