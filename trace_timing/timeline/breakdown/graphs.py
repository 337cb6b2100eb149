"""Ops that CUDA or HIP graphs replayed, by stage and by node.

Kineto writes "graph id" and "graph node id" since https://github.com/pytorch/kineto/pull/1276
(February 2026); the traces of torch 2.11 have neither. CUPTI packs the graph's id into the upper
half of the node's, which https://github.com/pytorch/pytorch/pull/191119 (July 2026) cuts off: from
then on a node's id is unique in its graph alone. Without ids, ops are matched by their order, since
a graph runs the same ops at each replay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trace_timing.arrays import BoolArray, IntArray
from trace_timing.memoize import cached_per_object
from trace_timing.schema.breakdown import GraphNode, GraphUse
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.build.metrics import sums
from trace_timing.timeline.build.model import RunOps, RunTimeline
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import NONE, Trace

#: What Kineto writes as graph and as node of an op that no graph replayed.
_NO_GRAPH = 0


def graph_use(trace: Trace, run: RunTimeline) -> tuple[GraphUse, ...]:
    """Graph launches of each stage that has any."""
    stages, stage = stages_of(run), stage_of_key(run)[run.ops.key]
    replayed = _replayed(trace, run)
    dur_ns, row = run.ops.end_ns - run.ops.start_ns, run.ops.row
    graph, node = trace.events.graph[row], trace.events.graph_node[row]
    rows = []
    for code in np.unique(stage[replayed]):
        own = replayed & (stage == code)
        known = own & (node > _NO_GRAPH)
        rows.append(
            GraphUse(
                stage=stages[code],
                graph_launches=len(np.unique(run.ops.launch_row[own])),
                graph_ops=int(own.sum()),
                kernel_sum_ns=int(dur_ns[own].sum()),
                nodes=len(np.unique(_joint_codes(graph[known], node[known]))) or None,
            )
        )
    return tuple(rows)


def graph_nodes(trace: Trace, run: RunTimeline) -> tuple[GraphNode, ...]:
    """Each node of each stage's graphs, the longest total first; a stage's sum is in `graphs`."""
    ops = run.ops.take(_replayed(trace, run))
    stages, stage = stages_of(run), stage_of_key(run)[ops.key]
    by_id, graph, node = _nodes_of_ops(trace, ops)
    group = _joint_codes(stage, by_id, graph, node)
    _, first, count = np.unique(group, return_index=True, return_counts=True)
    total = sums(group, ops.end_ns - ops.start_ns, len(first))
    name = trace.events.name[ops.row]
    return tuple(
        GraphNode(
            stage=stages[stage[op]],
            told_by="ids" if by_id[op] else "order",
            graph=int(graph[op]) if graph[op] != NONE else None,
            node=int(node[op]),
            name=trace.names[name[op]],
            count=int(count[i]),
            total_ns=int(total[i]),
        )
        for i, op in ((i, first[i]) for i in np.argsort(-total, kind="stable"))
    )


def _nodes_of_ops(trace: Trace, ops: RunOps) -> tuple[BoolArray, IntArray, IntArray]:
    """For each op: whether its node is known by ids, its graph (NONE: no id), its node.

    An op without ids is known by order even if others of its replay have ids: Kineto may write
    them for kernels and not for copies.
    """
    graph_id, node_id = trace.events.graph[ops.row], trace.events.graph_node[ops.row]
    by_id = node_id > _NO_GRAPH
    graph, place = _by_order(trace, ops)
    graph = np.where(by_id, np.where(graph_id > _NO_GRAPH, graph_id, NONE), graph)
    return by_id, graph, np.where(by_id, node_id, place)


def _by_order(trace: Trace, ops: RunOps) -> tuple[IntArray, IntArray]:
    """For each op: the number of its graph and its place in the replay, both from 0.

    Replays that run the same ops in the same order, by name, stream and device, are of one graph.
    """
    # Stable, so that a replay's ops stay as they started.
    order = np.lexsort((ops.launch_row, ops.launch_ns))
    begins = np.flatnonzero(np.diff(ops.launch_row[order], prepend=NONE))
    lengths = np.diff(begins, append=len(order))
    events = trace.events
    what = _joint_codes(events.name[ops.row], events.stream[ops.row], ops.device)[order]
    numbers: dict[bytes, int] = {}
    of_replay = [
        numbers.setdefault(what[begin : begin + length].tobytes(), len(numbers))
        for begin, length in zip(begins, lengths, strict=True)
    ]
    graph, place = np.empty_like(ops.row), np.empty_like(ops.row)
    graph[order] = np.repeat(np.array(of_replay, np.int64), lengths)
    place[order] = np.arange(len(order)) - np.repeat(begins, lengths)
    return graph, place


def _joint_codes(*columns: npt.NDArray[Any]) -> IntArray:
    """A number for each distinct row of some columns, from 0, in the order of the rows' values."""
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        distinct, each = np.unique(column, return_inverse=True)
        # Both are less than the number of rows, so that their product fits 64 bits.
        code = np.unique(code * len(distinct) + each, return_inverse=True)[1]
    return code


@cached_per_object
def _replayed(trace: Trace, run: RunTimeline) -> BoolArray:
    launch = run.ops.launch_row
    graphs = calls_that(trace, np.maximum(launch, 0), {"graph_launch"})
    return np.asarray((launch != NONE) & graphs, np.bool_)
