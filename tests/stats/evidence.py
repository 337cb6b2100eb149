"""Runs and controls made by hand: what latencies are worked out from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import Clock, ControlTimes, CuptiState, RunRecord
from trace_timing.records.segments import ControlSegment
from trace_timing.stages import Stage
from trace_timing.stats.latency.evidence import Capture, RecordedRun
from trace_timing.stats.latency.times import Times, times_of_stages

#: ms by stage of a run with two decode steps; they sum to 100.
STAGES: dict[Stage, float] = {
    "other": 5, "vision_encoder": 10, "projector": 2, "prefill": 20, "decode": 60, "sampling": 3,
}  # fmt: skip
MS = 1_000_000


def times(
    ms: Mapping[Stage, float] = STAGES,
    *,
    steps: int = 2,
    index: int = 0,
    cupti: CuptiState = "never",
    clock: Clock = "device",
    factor: float = 1.0,
) -> ControlTimes:
    """A control's times: stages in order, decode and sampling in equal steps."""
    parts: list[ControlSegment] = []
    for stage, value in ms.items():
        count = {"decode": steps, "sampling": steps + 1}.get(stage)
        numbers: Sequence[int | None] = (
            [None] if count is None else range(stage == "decode", count + (stage == "decode"))
        )
        for step in numbers:
            ns = round(value * factor * MS / len(numbers))
            parts.append(ControlSegment(stage=stage, step=step, duration_ns=ns))
    order = sorted(parts, key=lambda p: (p.step is not None, p.step or 0, p.stage == "sampling"))
    total = sum(part.duration_ns for part in parts)
    return ControlTimes(
        total_ns=total, segments=tuple(order), index=index, cupti=cupti, clock=clock
    )


def total_alone(ms: float, **more: Any) -> ControlTimes:
    """Of a model over several devices: the host's clock, no segments."""
    return ControlTimes(total_ns=round(ms * MS), clock="host", **more)


def control(
    given: ControlTimes, sample_id: str = "a", *, tokens: int | None = 3, **more: Any
) -> RunRecord:
    """The record of a control."""
    return RunRecord(
        sample_id=sample_id, role="control", repeat=0, control=given, tokens_in=100,
        tokens_out=tokens, **more,
    )  # fmt: skip


def recorded(sample_id: str = "a", *, tokens: int | None = 3, **more: Any) -> RunRecord:
    """The record of a recorded run."""
    more = {"repeat": 0, **more}
    return RunRecord(sample_id=sample_id, role="recorded", tokens_in=100, tokens_out=tokens, **more)


def run(
    sample_id: str = "a",
    ms: Mapping[Stage, float] = STAGES,
    *,
    factor: float = 1.3,
    busy: float = 0.2,
    steps: int = 2,
    clock: Clock = "device",
    **more: Any,
) -> RecordedRun:
    """What a trace says of a run that took `factor` as long as `ms`, busy for a share of it."""
    ns = {stage: round(value * factor * MS) for stage, value in ms.items()}
    windows = times_of_stages(ns, steps)
    first = sum(v for s, v in ns.items() if s not in ("decode", "sampling"))
    windows["T_TTFT"] = first
    on_device: Times = {n: None if v is None else v * busy for n, v in windows.items()}
    values: dict[str, Any] = {"repeat": 0, "rank": 0, "gpu_ops": 500, **more}
    return RecordedRun(
        sample_id=sample_id,
        clock=clock,
        cut_ns=ns,
        recorded_ns=windows,
        busy_ns=on_device if clock == "device" else dict.fromkeys(windows),
        kernel_sum_ns={stage: round(value * busy) for stage, value in ns.items()},
        decode_steps=steps,
        **values,
    )


def capture(
    controls: Sequence[RunRecord] = (), records: Sequence[RunRecord] = (), **settings: Any
) -> Capture:
    """A capture with these records."""
    manifest = Manifest(settings=settings)
    return Capture(manifest=manifest, controls=tuple(controls), recorded=tuple(records))
