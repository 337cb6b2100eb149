"""Which part of the model launched each op: attention, MLP, router, experts, norm, head, by layer.

From ranges named `component:<part>` or `component:<part>[<layer>]`, which `capture --detail
components` records; without them from the order of CPU ops, where these were read (`structure`).
As with stages, the innermost range open on the launching thread at the time of the launch counts;
an op launched in none is `rest`.
"""

from __future__ import annotations

import re

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.schema.breakdown import ComponentTime
from trace_timing.stages import Stage
from trace_timing.timeline.breakdown.cpu_op_structure import REST, Part, Structure, structure
from trace_timing.timeline.breakdown.grouping import stages_of
from trace_timing.timeline.breakdown.kind_times import times_by_stage
from trace_timing.timeline.build.model import RunTimeline, StageRange
from trace_timing.timeline.build.ranges import host_timelines
from trace_timing.trace.events import NONE, Kind, Trace

RANGE_NAME = re.compile(r"component:(?P<part>\w+)(?:\[(?P<layer>\d+)\])?")


def component_times(trace: Trace, run: RunTimeline) -> tuple[ComponentTime, ...]:
    """Ops and times by stage and component; those of a stage sum to it, exactly.

    Empty where neither ranges nor CPU ops tell a part: `rest` alone would say nothing.

    Raises:
        AttributionError: ranges of one thread cross.
    """
    parts, ranges = recorded_parts(trace)
    source, unknown = "ranges", dict[Stage, str]()
    if not ranges:
        found = structure(trace, run)
        if found is None:
            return ()
        source, unknown = "cpu_ops", dict(found.unknown)
        parts, ranges = _ranges_of(found, run.generating_thread)
    part = _part_of_ops(trace, run, ranges, rest=len(parts))
    parts = [*parts, REST]
    stages = stages_of(run)
    count, total, busy = times_by_stage(run, part, len(parts))
    return tuple(
        ComponentTime(
            stage=stages[s],
            component=parts[p][0],
            layer=parts[p][1],
            gpu_ops=int(count[s, p]),
            kernel_sum_ns=int(total[s, p]),
            busy_ns=int(busy[s, p]),
            source=f"cannot tell: {unknown[stages[s]]}" if stages[s] in unknown else source,
        )
        for s, p in np.argwhere((count > 0) | (busy > 0))
    )


def recorded_parts(trace: Trace) -> tuple[list[Part], list[StageRange]]:
    """The parts in order of first appearance, and their ranges, which point at them by number."""
    events = trace.events
    rows = events.rows(Kind.RANGE)
    known: dict[int, Part] = {}
    for name in np.unique(events.name[rows]):
        if match := RANGE_NAME.fullmatch(trace.names[name]):
            known[int(name)] = (match["part"], int(match["layer"]) if match["layer"] else None)
    rows = rows[np.isin(events.name[rows], list(known))]
    rows = rows[np.lexsort((-events.dur_ns[rows], events.start_ns[rows]))]
    parts: dict[Part, int] = {}
    ranges = [
        StageRange(
            key=parts.setdefault(known[int(events.name[row])], len(parts)),
            thread=int(events.thread[row]),
            start_ns=int(events.start_ns[row]),
            end_ns=int(events.start_ns[row] + events.dur_ns[row]),
        )
        for row in rows
    ]
    return list(parts), ranges


def _ranges_of(found: Structure, thread: int) -> tuple[list[Part], list[StageRange]]:
    """The same of what the CPU ops say."""
    parts: dict[Part, int] = {}
    ranges = [
        StageRange(
            key=parts.setdefault(part, len(parts)), thread=thread, start_ns=start, end_ns=end
        )
        for part, start, end in found.stretches
    ]
    return list(parts), ranges


def _part_of_ops(
    trace: Trace, run: RunTimeline, ranges: list[StageRange], *, rest: int
) -> IntArray:
    launch = run.ops.launch_row
    thread = np.where(launch == NONE, NONE, trace.events.thread[np.maximum(launch, 0)])
    part = np.full(len(run.ops), rest, np.int64)
    for number, timeline in host_timelines(ranges).items():
        mine = np.flatnonzero(thread == number)
        found = timeline.at(run.ops.launch_ns[mine])
        part[mine] = np.where(found == NONE, rest, found)
    return part
