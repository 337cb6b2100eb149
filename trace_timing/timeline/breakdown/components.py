"""Which component of the model launched each op: attention, MLP, router, experts, norm, head.

From ranges named `component:<name>` or `component:<name>[<layer>]`, which `capture --detail
components` records; without them from the order of CPU ops (`cpu_op_structure`), where recorded.
As with stages, the innermost range open on the launching thread at the time of the launch counts;
an op launched in none is `rest`.
"""

from __future__ import annotations

import re

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.schema.breakdown import ComponentTime
from trace_timing.stages import Stage
from trace_timing.timeline.breakdown.cpu_op_structure import REST, Component, Structure, structure
from trace_timing.timeline.breakdown.grouping import stages_of
from trace_timing.timeline.breakdown.kind_times import times_by_stage
from trace_timing.timeline.build.model import RunTimeline, StageRange
from trace_timing.timeline.build.ranges import host_timelines
from trace_timing.trace.events import NONE, Kind, Trace

RANGE_NAME = re.compile(r"component:(?P<name>\w+)(?:\[(?P<layer>\d+)\])?")


def component_times(trace: Trace, run: RunTimeline) -> tuple[ComponentTime, ...]:
    """Ops and times by stage and component; those of a stage sum to it, exactly.

    Empty where neither ranges nor CPU ops show a component: `rest` alone would be no information.

    Raises:
        AttributionError: ranges of one thread cross.
    """
    components, ranges = recorded_components(trace)
    source, unknown = "ranges", dict[Stage, str]()
    if not ranges:
        recognised = structure(trace, run)
        if recognised is None:
            return ()
        source, unknown = "cpu_ops", dict(recognised.unknown)
        components, ranges = _ranges_of(recognised, run.generating_thread)
    number = _component_of_ops(trace, run, ranges, rest=len(components))
    components = [*components, REST]
    stages = stages_of(run)
    count, total, busy = times_by_stage(run, number, len(components))
    return tuple(
        ComponentTime(
            stage=stages[s],
            component=components[c][0],
            layer=components[c][1],
            gpu_ops=int(count[s, c]),
            kernel_sum_ns=int(total[s, c]),
            busy_ns=int(busy[s, c]),
            source=f"cannot tell: {unknown[stages[s]]}" if stages[s] in unknown else source,
        )
        for s, c in np.argwhere((count > 0) | (busy > 0))
    )


def recorded_components(trace: Trace) -> tuple[list[Component], list[StageRange]]:
    """The components in order of first appearance, and their ranges with their numbers as keys."""
    events = trace.events
    rows = events.rows(Kind.RANGE)
    known: dict[int, Component] = {}
    for name in np.unique(events.name[rows]):
        if match := RANGE_NAME.fullmatch(trace.names[name]):
            known[int(name)] = (match["name"], int(match["layer"]) if match["layer"] else None)
    rows = rows[np.isin(events.name[rows], list(known))]
    rows = rows[np.lexsort((-events.dur_ns[rows], events.start_ns[rows]))]
    components: dict[Component, int] = {}
    ranges = [
        StageRange(
            key=components.setdefault(known[int(events.name[row])], len(components)),
            thread=int(events.thread[row]),
            start_ns=int(events.start_ns[row]),
            end_ns=int(events.start_ns[row] + events.dur_ns[row]),
        )
        for row in rows
    ]
    return list(components), ranges


def _ranges_of(recognised: Structure, thread: int) -> tuple[list[Component], list[StageRange]]:
    """As `recorded_components`, from the order of CPU ops."""
    components: dict[Component, int] = {}
    ranges = [
        StageRange(
            key=components.setdefault(component, len(components)),
            thread=thread,
            start_ns=start,
            end_ns=end,
        )
        for component, start, end in recognised.stretches
    ]
    return list(components), ranges


def _component_of_ops(
    trace: Trace, run: RunTimeline, ranges: list[StageRange], *, rest: int
) -> IntArray:
    """Number of each op's component; `rest` for an op launched in none."""
    launch = run.ops.launch_row
    thread = np.where(launch == NONE, NONE, trace.events.thread[np.maximum(launch, 0)])
    component = np.full(len(run.ops), rest, np.int64)
    for number, timeline in host_timelines(ranges).items():
        mine = np.flatnonzero(thread == number)
        innermost = timeline.at(run.ops.launch_ns[mine])
        component[mine] = np.where(innermost == NONE, rest, innermost)
    return component
