"""Ops that CUDA or HIP graphs replayed: whole by launch, and by node where the trace has ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.records import Stage
from trace_timing.timeline.grouping import stage_of_key, stages_of
from trace_timing.timeline.layout import RunTimeline
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import NONE, Trace
from trace_timing.units import BoolArray


@dataclass(frozen=True, kw_only=True)
class GraphUse:
    """A row of the table `graphs`: what graph launches did in one stage."""

    stage: Stage
    graph_launches: int
    graph_ops: int
    kernel_sum_ns: int
    #: Distinct node ids among them; None where the trace has none.
    nodes: int | None


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """One node of a graph over all its replays in a stage."""

    stage: Stage
    node: int
    name: str
    count: int
    total_ns: int


def graph_use(trace: Trace, run: RunTimeline) -> tuple[GraphUse, ...]:
    """Graph launches by stage, the stages that have none left out."""
    stages, stage = stages_of(run), stage_of_key(run)[run.ops.key]
    replayed = _replayed(trace, run)
    dur_ns, node = run.ops.end_ns - run.ops.start_ns, trace.events.graph_node[run.ops.row]
    rows = []
    for code in np.unique(stage[replayed]):
        own = replayed & (stage == code)
        ids = np.unique(node[own & (node > 0)])
        rows.append(
            GraphUse(
                stage=stages[code],
                graph_launches=len(np.unique(run.ops.launch_row[own])),
                graph_ops=int(own.sum()),
                kernel_sum_ns=int(dur_ns[own].sum()),
                nodes=len(ids) if len(ids) else None,
            )
        )
    return tuple(rows)


def graph_nodes(trace: Trace, run: RunTimeline) -> tuple[GraphNode, ...]:
    """Each node of each stage's graphs, by time; empty where the trace has no node ids."""
    stages, stage = stages_of(run), stage_of_key(run)[run.ops.key]
    events, rows = trace.events, run.ops.row
    # Node id 0 stands for "no graph" in Kineto's args.
    known = _replayed(trace, run) & (events.graph_node[rows] > 0)
    dur_ns = run.ops.end_ns - run.ops.start_ns
    keys, first, group = np.unique(
        np.stack([stage[known], events.graph_node[rows][known]]),
        axis=1,
        return_index=True,
        return_inverse=True,
    )
    total = np.zeros(keys.shape[1], np.int64)
    np.add.at(total, group.ravel(), dur_ns[known])
    count = np.bincount(group.ravel(), minlength=keys.shape[1])
    name = events.name[rows][known][first]
    order = np.argsort(-total, kind="stable")
    return tuple(
        GraphNode(
            stage=stages[int(keys[0, i])],
            node=int(keys[1, i]),
            name=trace.names[name[i]],
            count=int(count[i]),
            total_ns=int(total[i]),
        )
        for i in order
    )


def _replayed(trace: Trace, run: RunTimeline) -> BoolArray:
    launch = run.ops.launch_row
    graphs = calls_that(trace, np.maximum(launch, 0), {"graph_launch"})
    return np.asarray((launch != NONE) & graphs, np.bool_)
