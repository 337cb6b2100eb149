"""Warnings about one trace: each a reason to distrust a figure, its evidence, its remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trace_timing.records.findings import CheckResult, FigureWarning, IntegrityResult
from trace_timing.stats.trace.unknown_names import unknown_names
from trace_timing.stats.trace.unread import other_ranges, unread, without_id
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.timeline.build.runs import TraceTimeline
from trace_timing.timeline.naming.builtin_maps import BUILT_IN, built_in
from trace_timing.timeline.naming.stage_names import recognised
from trace_timing.trace.events import Trace
from trace_timing.trace.integrity.counts import Integrity, check_integrity

_UNATTRIBUTED_REMEDY = {
    "no_stage_ranges": "record ranges (trace-timing capture), or map this trace's own range names "
    "with --stages stages.toml",
    "launch_missing": "begin the profiler session before the work, and record runtime calls",
    "outside_generate": "wrap one generate() a session, or leave this work out of the session",
}


def trace_warnings(trace: Trace, timeline: TraceTimeline) -> Iterator[FigureWarning]:
    """Warnings about a trace's recording, its integrity checks apart."""
    yield from _unattributed(trace, timeline)
    yield from _switches(timeline, check_integrity(trace))
    yield from unread(trace, timeline)
    yield from unknown_names(trace)
    for reason, name in timeline.cautions.items():
        yield FigureWarning(
            code="stage_not_certain",
            message="Range names do not identify their stage with certainty.",
            evidence=f"{name}: {reason}",
            remedy="record with a version whose names do, or take these steps for either stage",
        )
    if timeline.borrowed_ops:
        yield FigureWarning(
            code="launched_by_other_thread",
            message="Ops launched by a thread without ranges take the generating thread's stage.",
            evidence=f"{timeline.borrowed_ops} ops",
            remedy="put ranges on that thread if its work is not the stage's",
        )
    if timeline.overlapping_runs:
        yield FigureWarning(
            code="overlapping_runs",
            message="A run begins while ops of the one before still run; each is tiled by itself.",
            evidence=f"{timeline.overlapping_runs} of {len(timeline.runs)} runs",
            remedy="synchronize between generate() calls",
        )


def _unattributed(trace: Trace, timeline: TraceTimeline) -> Iterator[FigureWarning]:
    """Ops and traces without a stage."""
    if not timeline.has_stage_ranges:
        seen = ", ".join(timeline.unclaimed_ranges[:8]) or "none"
        yield FigureWarning(
            code="no_stage_ranges",
            message="The trace has no stage ranges, so it has totals and no stages.",
            evidence=f"range names seen: {seen}{other_ranges(trace)}",
            remedy=_remedy_by_names(timeline.unclaimed_ranges),
        )
    if not timeline.has_ranges:
        return
    for reason, count in sorted(timeline.unattributed.items()):
        if reason == "recording_switch":  # with launches that lost their op: _switches
            continue
        yield FigureWarning(
            code=reason,
            message="Some GPU ops belong to no stage.",
            evidence=f"{count} ops: {reason}{_no_ids(trace) if reason == 'launch_missing' else ''}",
            remedy=_UNATTRIBUTED_REMEDY[reason],
            stage="unattributed",
        )


def _no_ids(trace: Trace) -> str:
    count = without_id(trace)
    return (
        f"; {count} ops have no correlation id, and an External id does not say which call "
        "launched an op"
        if count
        else ""
    )


def _remedy_by_names(names: Sequence[str]) -> str:
    """The built-in map that knows the trace's names, where there is one."""
    known = recognised(names, (built_in(name) for name in BUILT_IN))
    if known is None:
        return _UNATTRIBUTED_REMEDY["no_stage_ranges"]
    return f"these are names of the built-in map {known.name}: run it again with --stages auto"


def integrity_warnings(results: Iterable[IntegrityResult]) -> Iterator[FigureWarning]:
    """A warning for each integrity check that did not pass."""
    for result in results:
        if result.level != "PASS":
            yield FigureWarning(
                code=result.code,
                message=result.message,
                evidence=result.evidence,
                remedy=result.remedy,
                stage=result.stage,
            )


def _switches(timeline: TraceTimeline, integrity: Integrity) -> Iterator[FigureWarning]:
    """Ops and launches lost where recording was switched."""
    ops, launches = timeline.unattributed.get("recording_switch", 0), integrity.launches_at_switches
    if not ops and not launches:
        return
    spoiled = {
        (run.ordinal, run.keys[key].step)
        for run in timeline.runs
        for key, reason in run.unrecorded.items()
        if reason == "recording_switch"
    }
    yield FigureWarning(
        code="recording_switch",
        message="Where recording was switched off or on, ops lack their launch or launches their "
        "op; their steps are not counted.",
        evidence=f"{launches} launches without op, {ops} ops without launch; {len(spoiled)} "
        "recorded steps left out",
        remedy="the other steps are complete; with --record-steps all recording is never switched",
    )


def run_warnings(run: RunTimeline, no_device: FigureWarning) -> Iterator[FigureWarning]:
    """Warnings about one run, its checks and integrity apart.

    Args:
        no_device: the warning for a run that is timed by the host's clock.
    """
    if run.clock == "host":
        yield no_device


def check_warnings(checks: Sequence[CheckResult]) -> Iterable[FigureWarning]:
    """A warning for each broken check, which is a defect of the trace or of trace-timing."""
    return [
        FigureWarning(
            code="check_broken",
            message=f"Check {check.check} does not hold.",
            evidence=check.detail,
            remedy="do not use these figures; report the trace as a defect of trace-timing",
        )
        for check in checks
        if not check.holds
    ]
