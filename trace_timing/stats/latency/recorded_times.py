"""Times of one recorded run, named as in the sample table, from its tiling."""

from __future__ import annotations

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.stages import STAGES, Stage
from trace_timing.stats.latency.evidence import RecordedPart
from trace_timing.stats.latency.times import SUMS, Times, times_of_stages, without
from trace_timing.timeline.build.control_cut import segment_ns
from trace_timing.timeline.build.metrics import DeviceFigures, groups_by_stage, run_figures, sums
from trace_timing.timeline.build.model import Cells, RunTimeline, StageKey, State
from trace_timing.timeline.build.recorded_part import (
    estimate_of_stage,
    partly_recorded,
    recorded_steps,
)


def recorded_times(run: RunTimeline) -> Times:
    """The times of schema.SAMPLE_TIMES in ns, from a run's tiling; None where there is none."""
    figures = _figures(run)
    times = _tiled(run, figures.window_ns, figures)
    return {**times, "T_TTFT": _length(_first_token(run))}


def busy_times(run: RunTimeline) -> Times:
    """The busy time within each of recorded_times, in ns; all None without a device timeline.

    Those with an unrecorded part are None; the time per decode step is the mean of recorded ones.
    """
    figures = _figures(run)
    times = _tiled(run, figures.busy_ns, figures)
    if run.clock == "host":
        return dict.fromkeys(times)
    times = _of_recorded_steps(run, times, run_figures(run).busy_ns)
    first = _first_token(run)
    if first is not None and not run.gaps.meet(*np.array([first]).T).any():
        times["T_TTFT"] = int(busy_within(run.cells, np.array([first], np.int64))[0])
    return times


def recorded_part_of(run: RunTimeline) -> RecordedPart | None:
    """The run's recorded steps, and estimates over all steps; None where all was recorded."""
    if not run.unrecorded:
        return None
    steps, figures = recorded_steps(run, "decode"), run_figures(run)
    segments, has_device = segment_ns(run), run.clock == "device"
    return RecordedPart(
        steps=frozenset(steps.steps[steps.recorded].tolist()),
        # Between the forwards the host's time is known, recorded or not.
        whole_cut_ns={**_estimates(run, segments), "other": _of_stage(run, segments, "other")},
        recorded_ns=_of_recorded_steps(run, recorded_times(run), figures.window_ns),
        busy_estimate_ns=_busy_estimates(run) if has_device else dict.fromkeys(recorded_times(run)),
        gpu_ops_estimate=sum(_estimates(run, figures.gpu_ops).values()) if has_device else None,
    )


def _of_stage(run: RunTimeline, values: IntArray, stage: Stage) -> float:
    return float(sum(values[i] for i, key in enumerate(run.keys) if key.stage == stage))


def _of_recorded_steps(run: RunTimeline, times: Times, values: IntArray) -> Times:
    if not run.unrecorded:
        return times
    known = without(times, partly_recorded(run))
    return {**known, "T_decode_per_token": recorded_steps(run, "decode").per_step(values)}


def _busy_estimates(run: RunTimeline) -> Times:
    """Estimates of the sums that are not known over all steps."""
    by_stage = _estimates(run, run_figures(run).busy_ns)
    times = times_of_stages(by_stage, decode_steps(run))
    known = without(times, partly_recorded(run))
    return {n: v if known[n] is None and n in SUMS else None for n, v in times.items()}


def _estimates(run: RunTimeline, values: IntArray) -> dict[Stage, float]:
    """A figure of each stage over all its steps, estimated where not all were recorded."""
    groups = groups_by_stage(run.keys, STAGES)
    by_stage, partly = sums(groups, values, len(STAGES)), partly_recorded(run)
    there = _ranged(run) | {STAGES[i] for i in np.flatnonzero(by_stage)}
    estimates = {
        stage: estimate_of_stage(run, stage, values) if stage in partly else float(by_stage[i])
        for i, stage in enumerate(STAGES)
        if stage in there
    }
    return {stage: value for stage, value in estimates.items() if value is not None}


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


def _ranged(run: RunTimeline) -> set[Stage]:
    return {_stage(run, r.key) for r in run.ranges if r.key is not None}


def _stage(run: RunTimeline, key: int) -> Stage:
    return run.keys[key].stage


def _length(span: tuple[int, int] | None) -> int | None:
    return None if span is None else span[1] - span[0]


def _first_token(run: RunTimeline) -> tuple[int, int] | None:
    """From the begin of generate to the later end, on host or device, of sampling[0]."""
    first = StageKey("sampling", 0)
    if run.generate_start_ns is None or first not in run.keys:
        return None
    key = run.keys.index(first)
    ends = [r.end_ns for r in run.ranges if r.key == key]
    ops = run.ops.end_ns[run.ops.key == key]
    if not ends:
        return None
    return run.generate_start_ns, max([*ends, *([int(ops.max())] if len(ops) else [])])
