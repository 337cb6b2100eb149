"""Doubts about one trace: each a reason to distrust a figure, its evidence, its remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trace_timing.records import Doubt, LawResult, RunRecord
from trace_timing.stats.recorded_times import decode_steps
from trace_timing.stats.unknown_names import unknown_names
from trace_timing.timeline.builtin_stages import BUILT_IN, built_in
from trace_timing.timeline.clocks import ClockTolerance
from trace_timing.timeline.layout import RunTimeline
from trace_timing.timeline.runs import TraceTimeline
from trace_timing.timeline.stages import recognised
from trace_timing.trace.events import Trace
from trace_timing.trace.integrity import STREAM_OVERLAP_NS, Integrity

_UNATTRIBUTED_REMEDY = {
    "no_stage_ranges": "record ranges (trace-timing capture), or map this trace's own range names "
    "with --stages stages.toml",
    "launch_missing": "begin the profiler session before the work, and record runtime calls",
    "outside_generate": "wrap one generate() a session, or leave this work out of the session",
}


def trace_doubts(
    trace: Trace, timeline: TraceTimeline, integrity: Integrity, clocks: ClockTolerance
) -> Iterator[Doubt]:
    """What the recording itself gives reason to doubt."""
    yield from _unattributed(timeline)
    yield from _integrity(integrity)
    yield from _switches(timeline, integrity)
    yield from unknown_names(trace)
    if clocks.early_ops:
        yield Doubt(
            code="clock_skew",
            message="Some ops seem to start before they were launched.",
            evidence=f"{clocks.early_ops} ops, by up to {-(clocks.launch_to_start_ns or 0)} ns",
            remedy="read differences between host and device times to no better than that",
        )
    if trace.info.rounded_to_us:
        yield Doubt(
            code="rounded_to_us",
            message="Timestamps are whole microseconds, so short ops have no exact length.",
            evidence="no event of the trace has a fraction of a µs",
            remedy="record again with torch 2.4 or newer, which writes nanoseconds",
        )
    for reason, name in timeline.cautions.items():
        yield Doubt(
            code="stage_not_certain",
            message="Range names do not say for certain which stage they are.",
            evidence=f"{name}: {reason}",
            remedy="record with a version whose names do, or read these steps as both",
        )
    if timeline.borrowed_ops:
        yield Doubt(
            code="launched_by_other_thread",
            message="Ops launched by a thread without ranges take the generating thread's stage.",
            evidence=f"{timeline.borrowed_ops} ops",
            remedy="put ranges on that thread if its work is not the stage's",
        )
    if timeline.overlapping_runs:
        yield Doubt(
            code="overlapping_runs",
            message="A run begins while ops of the one before still run; each is tiled by itself.",
            evidence=f"{timeline.overlapping_runs} of {len(timeline.runs)} runs",
            remedy="synchronize between generate() calls",
        )


def _unattributed(timeline: TraceTimeline) -> Iterator[Doubt]:
    if not timeline.has_stage_ranges:
        seen = ", ".join(timeline.unclaimed_ranges[:8]) or "none"
        yield Doubt(
            code="no_stage_ranges",
            message="The trace has no stage ranges, so it has totals and no stages.",
            evidence=f"range names seen: {seen}",
            remedy=_remedy_by_names(timeline.unclaimed_ranges),
        )
        return
    for reason, count in sorted(timeline.unattributed.items()):
        if reason == "recording_switch":  # with launches that lost their op: _switches
            continue
        yield Doubt(
            code=reason,
            message="Some GPU ops belong to no stage.",
            evidence=f"{count} ops: {reason}",
            remedy=_UNATTRIBUTED_REMEDY[reason],
            stage="unattributed",
        )


def _remedy_by_names(names: Sequence[str]) -> str:
    """The built-in map that knows the trace's names, where there is one."""
    known = recognised(names, (built_in(name) for name in BUILT_IN))
    if known is None:
        return _UNATTRIBUTED_REMEDY["no_stage_ranges"]
    return f"these are names of the built-in map {known.name}: run it again with --stages auto"


def _integrity(integrity: Integrity) -> Iterator[Doubt]:
    if integrity.overlong_ops:
        yield Doubt(
            code="corrupt_durations",
            message="Ops end after the next op of their stream has started.",
            evidence=f"{integrity.overlong_ops} ops, {integrity.overlong_ns} ns in all, beyond "
            f"the {STREAM_OVERLAP_NS} ns that overlapping launches explain",
            remedy="record again; with a newer driver if it comes back",
        )
    if integrity.launches_without_ops:
        yield Doubt(
            code="lost_ops",
            message="Launches have no op: the profiler lost kernels, so stages read too short.",
            evidence=f"{integrity.launches_without_ops} of {integrity.launches} launches, "
            f"{integrity.lost_at_head} of them the first of the session",
            remedy="record one session a process, or with CUPTI 13.1 or newer "
            "(https://github.com/pytorch/pytorch/issues/192021)",
        )


def _switches(timeline: TraceTimeline, integrity: Integrity) -> Iterator[Doubt]:
    ops, launches = timeline.unattributed.get("recording_switch", 0), integrity.launches_at_switches
    if not ops and not launches:
        return
    spoiled = {
        (run.ordinal, run.keys[key].step)
        for run in timeline.runs
        for key, reason in run.unrecorded.items()
        if reason == "recording_switch"
    }
    yield Doubt(
        code="recording_switch",
        message="Where recording was switched off or on, ops have no launch or launches no op; "
        "steps that these are of are not counted.",
        evidence=f"{launches} launches without op, {ops} ops without launch; {len(spoiled)} "
        "recorded steps left out",
        remedy="the other steps are whole; with --record-steps all nothing is switched",
    )


def run_doubts(run: RunTimeline, record: RunRecord | None) -> Iterator[Doubt]:
    """What one run gives reason to doubt, its laws apart."""
    if run.clock == "host":
        yield Doubt(
            code="clock_host",
            message="No GPU timeline: stages are the host's ranges, and say nothing of a device.",
            evidence="the trace has no kernel, memcpy or memset",
            remedy="record on a GPU with CUDA activity",
        )
    steps = decode_steps(run)
    tokens = record.tokens_out if record else None
    if tokens is not None and tokens - 1 != steps:
        yield Doubt(
            code="tokens_not_steps",
            message="Tokens and steps differ, so time per step is not time per token.",
            evidence=f"{tokens} output tokens, {steps} decode steps",
            remedy="expected with assisted or prompt-lookup decoding; "
            "otherwise check that every forward has its range",
            stage="decode",
        )


def law_doubts(laws: Sequence[LawResult]) -> Iterable[Doubt]:
    """A broken law is a defect of the trace or of this tool: shown, never hidden."""
    return [
        Doubt(
            code="law_broken",
            message=f"Law {law.law} does not hold.",
            evidence=law.detail,
            remedy="do not use these figures; report the trace as a defect of trace-timing",
        )
        for law in laws
        if not law.holds
    ]
