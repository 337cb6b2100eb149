"""Times of one run, named as in the sample table, from the times of its stages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trace_timing import schema
from trace_timing.records.runs import ControlTimes
from trace_timing.records.segments import packed
from trace_timing.stages import STAGES, VISION_STAGES, Stage
from trace_timing.units import NS_PER_MS

#: Name in schema.SAMPLE_TIMES → ns; None where the run lacks it.
Times = dict[str, float | None]
_PARTS: Mapping[str, tuple[Stage, ...]] = {
    "T_vision_encoder": ("vision_encoder",),
    "T_projector": ("projector",),
    "T_vision_total": VISION_STAGES,
    "T_LLM_prefill": ("prefill",),
    "T_LLM_decode": ("decode",),
    "T_sampling": ("sampling",),
}
#: Times that are sums over stages, and so unknown where one of their stages is.
SUMS = (*_PARTS, "T_rest", "T_total")
_REST = tuple(s for s in STAGES if not any(s in p for p in _PARTS.values()))


def times_of_stages(by_stage: Mapping[Stage, float], steps: int) -> Times:
    """All times but T_TTFT, which is no sum of stages.

    Args:
        by_stage: ns of each stage that the run has; they partition its total.
        steps: its decode steps.
    """
    times: Times = {name: _sum(by_stage, stages) for name, stages in _PARTS.items()}
    times["T_rest"] = _sum(by_stage, _REST) or 0
    times["T_total"] = sum(by_stage.values())
    decode = times["T_LLM_decode"]
    times["T_decode_per_token"] = decode / steps if steps and decode is not None else None
    times["T_TTFT"] = None
    return times


def without(times: Times, stages: Collection[Stage]) -> Times:
    """The times, None where one of these stages is in the sum."""
    return {
        name: None if stages and _has_one_of(name, stages) else value
        for name, value in times.items()
    }


def _has_one_of(name: str, stages: Collection[Stage]) -> bool:
    parts = {**_PARTS, "T_rest": _REST, "T_total": STAGES, "T_decode_per_token": ("decode",)}
    return not set(parts.get(name, ())).isdisjoint(stages)


def _sum(by_stage: Mapping[Stage, float], stages: tuple[Stage, ...]) -> float | None:
    known = [by_stage[s] for s in stages if s in by_stage]
    return sum(known) if known else None


def times_of_control(control: ControlTimes) -> Times:
    """The times of a control from its segments; T_total alone where it has none."""
    if not control.segments:
        return {**times_of_stages({}, 0), "T_rest": None, "T_total": control.total_ns}
    times = times_of_stages(stages_of_control(control), decode_steps_of(control))
    return {**times, "T_TTFT": first_token_of_control(control)}


def stages_of_control(
    control: ControlTimes, steps: Collection[int] | None = None
) -> dict[Stage, int]:
    """Sum of a control's segments by stage, in ns.

    Args:
        steps: numbers of the steps to include, each with its sampling; None for all. Everything
            before the first step is included.
    """
    segments = packed(control.segments)
    course = segments.course
    groups = course.by_stage if steps is None else course.within(steps)
    return groups.sums(segments.durations_ns)


def steps_of_control(control: ControlTimes) -> list[int]:
    """Ns of each step in order: decode and the sampling after it."""
    segments = packed(control.segments)
    steps = segments.course.by_step.sums(segments.durations_ns)
    return [steps[step] for step in sorted(steps)]


def decode_times(control: ControlTimes) -> dict[int, int]:
    """Number of each decode step of a control → ns."""
    segments = packed(control.segments)
    return segments.course.by_decode_step.sums(segments.durations_ns)


def decode_steps_of(control: ControlTimes) -> int:
    """Decode steps of a control."""
    return len(packed(control.segments).course.by_decode_step.keys)


def has_all_steps(control: ControlTimes) -> bool:
    """Whether the numbers of a control's steps have no gap and are in order."""
    return packed(control.segments).course.has_all_steps


def first_token_of_control(control: ControlTimes) -> int | None:
    """Ns from the begin of generate() to the end of sampling[0]; None without such a segment."""
    segments = packed(control.segments)
    end = segments.course.first_token_at
    return None if end is None else int(segments.durations_ns[:end].sum())


def aligned(runs: Sequence[Mapping[str, float | None]]) -> list[Times]:
    """Runs of one sample, with 0 for a stage that only other runs have.

    So that the means over the runs sum to the mean total, as in each run.
    """
    there = {name for name in _PARTS for run in runs if run[name] is not None}
    return [{**run, **{n: 0 for n in there if run[n] is None}} for run in runs]


def mean_times(runs: Sequence[Mapping[str, float | None]]) -> Times:
    """Mean over n ≥ 0 runs of one sample; None for times that no run has."""
    rows = aligned(runs)
    known = {n: [v for row in rows if (v := row[n]) is not None] for n in schema.SAMPLE_TIMES}
    return {n: sum(values) / len(values) if values else None for n, values in known.items()}


def in_ms(kind: str, times: Mapping[str, float | None]) -> dict[str, float | None]:
    """Columns `…<kind>_ms` of the times."""
    return {
        f"{name}{kind}_ms": None if (ns := times[name]) is None else ns / NS_PER_MS
        for name in schema.SAMPLE_TIMES
    }
