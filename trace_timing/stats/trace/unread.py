"""Warn about events that were not read, or not as they stand, and what that means for figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trace_timing.records.findings import FigureWarning
from trace_timing.timeline.build.runs import TraceTimeline
from trace_timing.trace.events import Trace, joins
from trace_timing.trace.integrity.counts import Integrity
from trace_timing.trace.links import gpu_op_rows

#: Known categories that are not read: the host's, and marks that repeat other events; lower case.
_NO_WORK = frozenset(
    (
        "trace", "cpu_op", "operator", "user_annotation", "gpu_user_annotation", "overhead",
        "python_function", "python", "ac2g", "fwdbwd", "async_cpu_to_gpu", "cuda_event",
        "cuda_profiler_range", "cpu_instant_event", "memory", "module", "profilerstep",
        "dataloader", "communication",
    )
)  # fmt: skip
#: An event with a duration and no category.
_NO_CATEGORY = "ph X"
_MOST_NAMED = 6


def unread(trace: Trace, timeline: TraceTimeline) -> Iterator[FigureWarning]:
    """Warnings about events that were left out, repaired or cut."""
    damage = trace.info.damage
    if damage.left_out:
        yield FigureWarning(
            code="events_left_out",
            message="Some events cannot be read and are left out; no figure is made of them.",
            evidence=f"{_counted(damage.left_out)}; the first: {damage.first_left_out}",
            remedy="none needed for these figures; record again to have the whole trace",
        )
    if damage.repaired:
        yield FigureWarning(
            code="text_put_right",
            message="Some names are not valid JSON text and were repaired; times are unchanged.",
            evidence=f"{damage.repaired} texts, the first: {damage.first_repaired}",
            remedy="record with a newer torch, which escapes them",
        )
    unknown = unknown_kinds(trace)
    if unknown and len(gpu_op_rows(trace.events)):
        yield FigureWarning(
            code="unknown_event_kinds",
            message="Events of unknown kinds are not read; if a device did them, they are missing.",
            evidence=_counted(unknown),
            remedy="if these are a device's work, report the trace, so that it can be added",
        )
    if timeline.crossings:
        more = len(timeline.crossings) - _MOST_NAMED
        yield FigureWarning(
            code="crossing_ranges",
            message="Ranges of one stage cross; the earlier is taken to end where the later "
            "begins. The stage's time is right, how its steps divide it is not certain.",
            evidence="; ".join(timeline.crossings[:_MOST_NAMED]) + (f"; {more} more" * (more > 0)),
            remedy="record them nested, or one after the other",
        )


def unknown_kinds(trace: Trace) -> dict[str, int]:
    """Number of events with a duration and an unknown category, by category."""
    return {
        label: count
        for label, count in trace.info.skipped.items()
        if label == _NO_CATEGORY or not (label.startswith("ph ") or label.lower() in _NO_WORK)
    }


def clock_host(trace: Trace, integrity: Integrity) -> FigureWarning:
    """Why a run is timed by the host's clock: ops were not recorded, lost, or of unknown kinds."""
    unknown = unknown_kinds(trace)
    evidence, remedy = (
        "the trace has no kernel, memcpy or memset",
        "record on a GPU with CUDA activity",
    )
    if unknown:
        evidence += f"; skipped, of kinds that are not known: {_counted(unknown)}"
        remedy = "if they are the device's work, report the trace, so that these kinds can be added"
    elif integrity.launches_without_ops:
        evidence += f"; the ops of {integrity.launches_without_ops} launches are lost"
        remedy = "as for lost_ops: the profiler was on and lost the device's work"
    return FigureWarning(
        code="clock_host",
        message="No GPU timeline: stages are the host's ranges, and say nothing of a device.",
        evidence=evidence,
        remedy=remedy,
    )


def other_ranges(trace: Trace) -> str:
    """Forms of ranges in the trace that are not read, for a message; empty without any."""
    forms = {
        "begin events (ph B)": "ph B",
        "asynchronous ranges (ph b)": "ph b",
        "gpu_user_annotation": "gpu_user_annotation",
    }
    skipped = trace.info.skipped
    seen = [f"{skipped[label]} {form}" for form, label in forms.items() if label in skipped]
    return f"; not read as ranges: {', '.join(seen)}" if seen else ""


def without_id(trace: Trace) -> int:
    """Number of ops without the correlation id that would give their launch."""
    ids = trace.events.correlation[gpu_op_rows(trace.events)]
    return int((~joins(ids)).sum())


def _counted(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda pair: -pair[1])
    listed = ", ".join(f"{label} ({count:,})" for label, count in most[:_MOST_NAMED])
    return listed + (f" and {len(most) - _MOST_NAMED} more" if len(most) > _MOST_NAMED else "")
