"""One run → its row of the sample table, in the words of the experiments that use it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from statistics import median

import numpy as np

from trace_timing import schema
from trace_timing.records import STAGES, VISION_STAGES, RunRecord
from trace_timing.stats.envelope import undisturbed
from trace_timing.timeline.control_cut import SegmentKey, by_stage, segments_of
from trace_timing.timeline.figures import DeviceFigures, groups_by_stage, run_figures
from trace_timing.timeline.layout import Cells, RunTimeline, StageKey, State
from trace_timing.timeline.tables import step_intervals
from trace_timing.units import NS_PER_MS, IntArray

Times = dict[str, float | None]
_PARTS: dict[str, tuple[str, ...]] = {
    "T_vision_encoder": ("vision_encoder",),
    "T_projector": ("projector",),
    "T_vision_total": VISION_STAGES,
    "T_LLM_prefill": ("prefill",),
    "T_LLM_decode": ("decode",),
    "T_sampling": ("sampling",),
}
_REST = tuple(s for s in STAGES if not any(s in p for p in _PARTS.values()))


def sample_times(run: RunTimeline) -> Times:
    """The times of schema.SAMPLE_TIMES in ns, from a run's tiling; None where there is none."""
    figures = _figures(run)
    intervals = _intervals(run)
    return {
        **_tiled_parts(run, figures.window_ns, figures),
        "T_TTFT": _length(_first_token(run)),
        "T_step": median(b - a for a, b in intervals) if intervals else None,
    }


def busy_times(run: RunTimeline) -> Times:
    """The busy time within each of sample_times, in ns; all None without a device timeline."""
    if run.clock == "host":
        return dict.fromkeys(schema.SAMPLE_TIMES)
    figures = _figures(run)
    first = _first_token(run)
    spans = [*_intervals(run), *([first] if first else [])]
    busy = busy_within(run.cells, np.array(spans, np.int64).reshape(-1, 2)).tolist()
    of_first = busy.pop() if first else None
    return {
        **_tiled_parts(run, figures.busy_ns, figures),
        "T_TTFT": of_first,
        "T_step": median(busy) if busy else None,
    }


def segment_times(segments: Mapping[SegmentKey, int], ranged: Collection[str]) -> Times:
    """The times of schema.CONTROLLED_TIMES in ns, from a run cut as a control is.

    Args:
        ranged: stages whose absence from the segments means 0 and not "not there".
    """
    stages = by_stage(segments)
    steps = step_lengths(segments)
    return {
        **_parts(
            {s: stages.get(s, 0 if s in ranged else None) for s in STAGES},
            sum(stages.values()),
            len(steps),
        ),
        "T_step": median(steps) if steps else None,
    }


def step_lengths(segments: Mapping[SegmentKey, int]) -> list[int]:
    """Decode and what follows it, by step, in ns."""
    steps = sorted(step for stage, step in segments if stage == "decode" and step is not None)
    return [segments["decode", k] + segments.get(("sampling", k), 0) for k in steps]


def sample_row(
    run: RunTimeline, record: RunRecord | None, control: Mapping[SegmentKey, int]
) -> dict[str, object]:
    """The row's figures, without key, verdicts and metadata.

    Args:
        control: median segments of the run's controls, empty where it has none.
    """
    intervals = [b - a for a, b in _intervals(run)]
    row: dict[str, object] = {
        **_in_ms({"": sample_times(run), "_busy": busy_times(run)}),
        **_beside_control(run, control),
        "T_step_undisturbed_ms": _ms(undisturbed(intervals)),
    }
    row["decode_steps"] = decode_steps(run)
    row["gpu_ops"] = len(run.ops)
    row["input_tokens"] = record.tokens_in if record else None
    row["output_tokens"] = record.tokens_out if record else None
    row["output_tokens_total"] = record.tokens_out_total if record else None
    return row


def _beside_control(run: RunTimeline, control: Mapping[SegmentKey, int]) -> dict[str, object]:
    names = schema.CONTROLLED_TIMES
    if not control:
        return {f"{n}_{kind}": None for n in names for kind in ("control_ms", "observer_effect")}
    ranged = _ranged(run)
    own, there = segment_times(segments_of(run), ranged), segment_times(control, ranged)
    row: dict[str, object] = {f"{name}_control_ms": _ms(there[name]) for name in names}
    for name in names:
        above, below = own[name], there[name]
        row[f"{name}_observer_effect"] = above / below if above and below else None
    return row


def _in_ms(times: Mapping[str, Times]) -> dict[str, object]:
    return {f"{n}{kind}_ms": _ms(ns) for kind, values in times.items() for n, ns in values.items()}


def _ms(ns: float | None) -> float | None:
    return None if ns is None else ns / NS_PER_MS


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


def _tiled_parts(run: RunTimeline, values: IntArray, figures: DeviceFigures) -> Times:
    ranged = _ranged(run)
    by_stage: Mapping[str, int | None] = {
        s: int(values[i]) if s in ranged or figures.window_ns[i] or figures.gpu_ops[i] else None
        for i, s in enumerate(STAGES)
    }
    return _parts(by_stage, int(values.sum()), decode_steps(run))


def _ranged(run: RunTimeline) -> set[str]:
    return {_stage(run, r.key) for r in run.ranges if r.key is not None}


def _parts(by_stage: Mapping[str, int | None], total: int, steps: int) -> Times:
    times: Times = {name: _sum(by_stage, stages) for name, stages in _PARTS.items()}
    times["T_rest"] = _sum(by_stage, _REST) or 0
    times["T_total"] = total
    decode = times["T_LLM_decode"]
    times["T_decode_per_token"] = decode / steps if steps and decode is not None else None
    return times


def _sum(by_stage: Mapping[str, int | None], stages: tuple[str, ...]) -> int | None:
    known = [ns for s in stages if (ns := by_stage[s]) is not None]
    return sum(known) if known else None


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


def _intervals(run: RunTimeline) -> list[tuple[int, int]]:
    """Begin and end of each decode step's interval, those without an end left out."""
    begins = {r.key: r.start_ns for r in reversed(run.ranges)}
    steps = sorted(
        (k.step, i)
        for i, k in enumerate(run.keys)
        if k.stage == "decode" and k.step is not None and i in begins
    )
    keys = [i for _, i in steps]
    lengths = step_intervals(run, np.array(keys, np.int64))
    return [
        (begins[k], begins[k] + length)
        for k, length in zip(keys, lengths, strict=True)
        if length is not None
    ]
