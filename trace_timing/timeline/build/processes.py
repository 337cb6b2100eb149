"""A trace of several host processes, laid out process by process."""

from __future__ import annotations

from dataclasses import replace

from trace_timing.errors import AttributionError
from trace_timing.timeline.build.runs import TraceTimeline, lay_out
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, StageMap
from trace_timing.trace.events import GPU_OP_KINDS, Trace
from trace_timing.trace.processes import by_process, ranks_of

LaidOut = tuple[tuple[Trace, TraceTimeline], ...]


def lay_out_each(trace: Trace, stage_map: StageMap = DEFAULT_STAGES) -> LaidOut:
    """Attribute and tile every run of a trace, each process by itself.

    Returns:
        The events and the timeline of each process that has stage ranges or GPU ops, in order of
        rank; the trace itself where it has one process.
    Raises:
        AttributionError: ranges of one thread cross; or ranges and GPU ops are those of different
            processes.
    """
    each = tuple((part, lay_out(part, stage_map)) for part in by_process(trace))
    ranged = [part for part, timeline in each if timeline.has_ranges]
    working = [part for part, _ in each if _has_ops(part)]
    only_ranges = [part for part in ranged if not _has_ops(part)]
    only_ops = [part for part in working if not any(part is other for other in ranged)]
    if only_ranges and only_ops:
        raise AttributionError(
            "stage ranges are in one process and GPU ops in another",
            why=f"ranges: {_names(only_ranges)}; GPU ops: {_names(only_ops)}; what one process "
            "launches is not timed by another's ranges",
            remedy="record ranges in the process that launches; if both are one process, give its "
            "events one pid",
        )
    useful = tuple(
        (part, timeline) for part, timeline in each if timeline.has_ranges or _has_ops(part)
    )
    return _ranked(useful or each)


def _ranked(parts: LaidOut) -> LaidOut:
    """Give the processes ranks counted among these alone: one that was left out has none."""
    pids = tuple(pid for part, _ in parts for pid in part.info.processes)
    if len(pids) < len(parts):
        return parts  # one process, whose rank the file may say
    wanted = zip(parts, ranks_of(pids), strict=True)
    return tuple(
        (part, timeline)
        if part.info.rank == rank
        else (replace(part, info=replace(part.info, rank=rank)), timeline)
        for (part, timeline), rank in wanted
    )


def _has_ops(trace: Trace) -> bool:
    return bool(len(trace.events.rows(*GPU_OP_KINDS)))


def _names(parts: list[Trace]) -> str:
    return ", ".join(pid for part in parts for pid in part.info.processes) or "the same"
