"""Times of one recorded run in the words of the sample table, from its tiling."""

from __future__ import annotations

import numpy as np

from trace_timing.records import STAGES
from trace_timing.stats.times import Times, times_of_stages
from trace_timing.timeline.figures import DeviceFigures, groups_by_stage, run_figures
from trace_timing.timeline.layout import Cells, RunTimeline, StageKey, State
from trace_timing.units import IntArray


def recorded_times(run: RunTimeline) -> Times:
    """The times of schema.SAMPLE_TIMES in ns, from a run's tiling; None where there is none."""
    figures = _figures(run)
    times = _tiled(run, figures.window_ns, figures)
    return {**times, "T_TTFT": _length(_first_token(run))}


def busy_times(run: RunTimeline) -> Times:
    """The busy time within each of recorded_times, in ns; all None without a device timeline."""
    figures = _figures(run)
    times = _tiled(run, figures.busy_ns, figures)
    if run.clock == "host":
        return dict.fromkeys(times)
    if (first := _first_token(run)) is not None:
        times["T_TTFT"] = int(busy_within(run.cells, np.array([first], np.int64))[0])
    return times


def decode_steps(run: RunTimeline) -> int:
    """Forwards after prefill: decode ranges of the run."""
    return len({r.key for r in run.ranges if r.key is not None and _stage(run, r.key) == "decode"})


def busy_within(cells: Cells, spans_ns: IntArray) -> IntArray:
    """Busy time of the cells in each of n spans.

    Args:
        spans_ns: n rows of begin and end, within the window or beyond it.
    """
    if not len(cells):
        return np.zeros(len(spans_ns), np.int64)
    busy = cells.state == State.BUSY
    until = np.concatenate([[0], np.cumsum(np.where(busy, cells.length_ns, 0))])
    at = np.clip(spans_ns, cells.edge_ns[0], cells.edge_ns[-1])
    held = np.minimum(np.searchsorted(cells.edge_ns, at, "right") - 1, len(cells) - 1)
    reached = until[held] + np.where(busy[held], at - cells.edge_ns[held], 0)
    return np.asarray(reached[:, 1] - reached[:, 0], np.int64)


def _figures(run: RunTimeline) -> DeviceFigures:
    groups = groups_by_stage(run.keys, STAGES)
    return run_figures(run).grouped(groups, len(STAGES))


def _tiled(run: RunTimeline, values: IntArray, figures: DeviceFigures) -> Times:
    ranged = _ranged(run)
    by_stage = {
        s: int(values[i])
        for i, s in enumerate(STAGES)
        if s in ranged or figures.window_ns[i] or figures.gpu_ops[i]
    }
    return times_of_stages(by_stage, decode_steps(run))


def _ranged(run: RunTimeline) -> set[str]:
    return {_stage(run, r.key) for r in run.ranges if r.key is not None}


def _stage(run: RunTimeline, key: int) -> str:
    return run.keys[key].stage


def _length(span: tuple[int, int] | None) -> int | None:
    return None if span is None else span[1] - span[0]


def _first_token(run: RunTimeline) -> tuple[int, int] | None:
    """generate begins → sampling[0] ends, on the host or on the device, the later."""
    first = StageKey("sampling", 0)
    if run.generate_start_ns is None or first not in run.keys:
        return None
    key = run.keys.index(first)
    ends = [r.end_ns for r in run.ranges if r.key == key]
    ops = run.ops.end_ns[run.ops.key == key]
    if not ends:
        return None
    return run.generate_start_ns, max([*ends, *([int(ops.max())] if len(ops) else [])])
