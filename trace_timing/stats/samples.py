"""One run → its row of the sample table, in the words of the experiments that use it.

The same functions read the recorded timeline and the replayed one, so a corrected figure means
what its raw one means.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import numpy as np

from trace_timing import schema
from trace_timing.records import STAGES, VISION_STAGES, RunRecord
from trace_timing.timeline.figures import DeviceFigures, device_figures, groups_by_stage
from trace_timing.timeline.layout import RunTimeline, StageKey, State, Tiles
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
        **_parts(run, figures.window_ns, figures),
        "T_TTFT": _length(_first_token(run)),
        "T_step": median(b - a for a, b in intervals) if intervals else None,
    }


def busy_times(run: RunTimeline) -> Times:
    """The busy time within each of sample_times, in ns; all None without a device timeline."""
    if run.clock == "host":
        return dict.fromkeys(schema.SAMPLE_TIMES)
    figures = _figures(run)
    first = _first_token(run)
    steps = [busy_within(run.tiles, a, b) for a, b in _intervals(run)]
    return {
        **_parts(run, figures.busy_ns, figures),
        "T_TTFT": busy_within(run.tiles, *first) if first else None,
        "T_step": median(steps) if steps else None,
    }


def sample_row(
    run: RunTimeline, corrected: RunTimeline | None, record: RunRecord | None
) -> dict[str, object]:
    """The row's figures, without key, verdicts and metadata."""
    times = {
        "": sample_times(run),
        "_busy": busy_times(run),
        "_corrected": sample_times(corrected) if corrected else dict.fromkeys(schema.SAMPLE_TIMES),
    }
    row: dict[str, object] = {
        f"{name}{kind}_ms": None if ns is None else ns / NS_PER_MS
        for kind, values in times.items()
        for name, ns in values.items()
    }
    row["decode_steps"] = decode_steps(run)
    row["gpu_ops"] = len(run.ops)
    row["input_tokens"] = record.tokens_in if record else None
    row["output_tokens"] = record.tokens_out if record else None
    row["output_tokens_total"] = record.tokens_out_total if record else None
    return row


def decode_steps(run: RunTimeline) -> int:
    """Forwards after prefill: decode ranges of the run."""
    return len({r.key for r in run.ranges if r.key is not None and _stage(run, r.key) == "decode"})


def busy_within(tiles: Tiles, begin_ns: int, end_ns: int) -> int:
    """Busy time of the tiles between two instants."""
    start = np.maximum(tiles.start_ns, begin_ns)
    end = np.minimum(tiles.end_ns, end_ns)
    inside = (tiles.state == State.BUSY) & (end > start)
    return int((end[inside] - start[inside]).sum())


def _figures(run: RunTimeline) -> DeviceFigures:
    groups = groups_by_stage(run.keys, STAGES)
    return device_figures(run.tiles, run.ops, groups, len(STAGES))


def _parts(run: RunTimeline, values: IntArray, figures: DeviceFigures) -> Times:
    ranged = {_stage(run, r.key) for r in run.ranges if r.key is not None}
    by_stage: Mapping[str, int | None] = {
        s: int(values[i]) if s in ranged or figures.window_ns[i] or figures.gpu_ops[i] else None
        for i, s in enumerate(STAGES)
    }
    times: Times = {name: _sum(by_stage, stages) for name, stages in _PARTS.items()}
    times["T_rest"] = _sum(by_stage, _REST) or 0
    times["T_total"] = int(values.sum())
    steps, decode = decode_steps(run), times["T_LLM_decode"]
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
