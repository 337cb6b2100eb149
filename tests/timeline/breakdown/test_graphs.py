"""Graph replays: whole by launch; by node, told by ids or by the order of a replay."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN, make_run, make_trace
from trace_timing.timeline.breakdown.graphs import graph_nodes, graph_use
from trace_timing.timeline.build.model import RunTimeline, StageKey
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.trace.kineto.reader import read_trace

#: Three ops of a graph, three of its next replay, two of another graph, one kernel by itself.
OPS = [
    (Kind.KERNEL, "nvjet_a", 10, 20),
    (Kind.KERNEL, "silu", 20, 25),
    (Kind.KERNEL, "silu", 25, 29),
    (Kind.KERNEL, "nvjet_a", 40, 52),
    (Kind.KERNEL, "silu", 52, 57),
    (Kind.KERNEL, "silu", 57, 60),
    (Kind.KERNEL, "nvjet_a", 70, 71),
    (Kind.MEMCPY, "Memcpy DtoD", 71, 73),
    (Kind.KERNEL, "nvjet_a", 80, 87),
]
CALLS = [
    ("cudaGraphLaunch", 1, 5),
    ("cudaGraphLaunch", 31, 35),
    ("cudaGraphLaunch", 61, 65),
    ("cudaLaunchKernel", 66, 67),
]
LAUNCHED_BY = [0, 0, 0, 1, 1, 1, 2, 2, 3]
#: Of the ops above as CUPTI numbers them: its ids of nodes begin anew in each graph.
GRAPHS = [5, 5, 5, 5, 5, 5, 6, 6, 0]
NODES = [1, 2, 3, 1, 2, 3, 1, 2, 0]


def _replays(
    graphs: list[int] | None = None, nodes: list[int] | None = None
) -> tuple[Trace, RunTimeline]:
    trace = make_trace(OPS, CALLS, correlations=LAUNCHED_BY)
    ids = {
        name: np.array([*ids, *[NONE] * len(CALLS)], np.int64)
        for name, ids in (("graph", graphs), ("graph_node", nodes))
        if ids is not None
    }
    trace = replace(trace, events=replace(trace.events, **ids))
    keys = [StageKey("prefill"), StageKey("decode", 1)]
    stages = [0, 0, 0, 1, 1, 1, 1, 1, 1]
    return trace, make_run(trace, keys, (0, 90), stages, [(0, 0), (30, 1)])


def _rows(trace: Trace, run: RunTimeline) -> list[tuple[object, ...]]:
    return [
        (n.stage, n.told_by, n.graph, n.node, n.name, n.count, n.total_ns)
        for n in graph_nodes(trace, run)
    ]


def _assert_nodes_sum_to_graphs(trace: Trace, run: RunTimeline) -> None:
    sums, counts = Counter[str](), Counter[str]()
    for node in graph_nodes(trace, run):
        sums[node.stage] += node.total_ns
        counts[node.stage] += node.count
    whole = graph_use(trace, run)
    assert sums == {row.stage: row.kernel_sum_ns for row in whole}
    assert counts == {row.stage: row.graph_ops for row in whole}


def test_replays_are_counted_by_launch() -> None:
    prefill, decode = graph_use(*_replays(GRAPHS, NODES))
    assert (prefill.stage, prefill.graph_launches, prefill.graph_ops) == ("prefill", 1, 3)
    assert (decode.stage, decode.graph_launches, decode.graph_ops) == ("decode", 2, 5)
    assert (prefill.kernel_sum_ns, decode.kernel_sum_ns) == (19, 23)
    assert (prefill.nodes, decode.nodes) == (3, 5)


def test_nodes_of_one_id_in_two_graphs_are_two_nodes() -> None:
    assert _rows(*_replays(GRAPHS, NODES)) == [
        ("decode", "ids", 5, 1, "nvjet_a", 1, 12),
        ("prefill", "ids", 5, 1, "nvjet_a", 1, 10),
        ("prefill", "ids", 5, 2, "silu", 1, 5),
        ("decode", "ids", 5, 2, "silu", 1, 5),
        ("prefill", "ids", 5, 3, "silu", 1, 4),
        ("decode", "ids", 5, 3, "silu", 1, 3),
        ("decode", "ids", 6, 2, "Memcpy DtoD", 1, 2),
        ("decode", "ids", 6, 1, "nvjet_a", 1, 1),
    ]


def test_ids_that_hold_their_graph_need_no_other() -> None:
    packed = [graph << 32 | node for graph, node in zip(GRAPHS, NODES, strict=True)]
    trace, run = _replays(nodes=packed)
    assert {(n.graph, n.node) for n in graph_nodes(trace, run)} == {
        (None, id_) for id_ in packed if id_
    }
    assert [row.nodes for row in graph_use(trace, run)] == [3, 5]


def test_without_ids_replays_of_the_same_ops_in_the_same_order_are_of_one_graph() -> None:
    trace, run = _replays()
    assert _rows(trace, run) == [
        ("decode", "order", 0, 0, "nvjet_a", 1, 12),
        ("prefill", "order", 0, 0, "nvjet_a", 1, 10),
        ("prefill", "order", 0, 1, "silu", 1, 5),
        ("decode", "order", 0, 1, "silu", 1, 5),
        ("prefill", "order", 0, 2, "silu", 1, 4),
        ("decode", "order", 0, 2, "silu", 1, 3),
        ("decode", "order", 1, 1, "Memcpy DtoD", 1, 2),
        ("decode", "order", 1, 0, "nvjet_a", 1, 1),
    ]
    assert [row.nodes for row in graph_use(trace, run)] == [None, None]


def test_replays_of_one_graph_in_one_stage_are_summed_by_node() -> None:
    trace = make_trace(OPS, CALLS, correlations=LAUNCHED_BY)
    run = make_run(trace, [StageKey("decode", 1)], (0, 90), [0] * 9, [(0, 0)])
    assert [(n.graph, n.node, n.count, n.total_ns) for n in graph_nodes(trace, run)] == [
        (0, 0, 2, 22),
        (0, 1, 2, 10),
        (0, 2, 2, 7),
        (1, 1, 1, 2),
        (1, 0, 1, 1),
    ]


def test_the_same_ops_on_another_stream_are_another_graph() -> None:
    streams = [7, 7, 7, 7, 7, 8, 7, 7, 7]
    trace = make_trace(OPS, CALLS, correlations=LAUNCHED_BY, streams=streams)
    run = make_run(trace, [StageKey("decode", 1)], (0, 90), [0] * 9, [(0, 0)])
    assert {(n.graph, n.count) for n in graph_nodes(trace, run)} == {(0, 1), (1, 1), (2, 1)}


def test_an_op_without_an_id_is_told_by_its_place_among_those_that_have_one() -> None:
    nodes = [*NODES[:7], 0, 0]
    trace, run = _replays(GRAPHS, nodes)
    copy = next(n for n in graph_nodes(trace, run) if n.name == "Memcpy DtoD")
    assert (copy.told_by, copy.graph, copy.node, copy.total_ns) == ("order", 1, 1, 2)
    _assert_nodes_sum_to_graphs(trace, run)


@pytest.mark.parametrize("ids", [(GRAPHS, NODES), (None, None), (None, NODES)])
def test_nodes_of_a_stage_sum_to_what_its_graphs_took(ids: tuple[Any, Any]) -> None:
    _assert_nodes_sum_to_graphs(*_replays(*ids))


def test_a_run_without_graphs_has_no_row() -> None:
    assert graph_use(TWO_STAGES, TWO_STAGES_RUN) == ()
    assert graph_nodes(TWO_STAGES, TWO_STAGES_RUN) == ()


def test_one_replay_of_a_real_trace_holds_nearly_all_its_ops(peers: Path) -> None:
    trace = read_trace(peers / "tracelens_vllm_decode_graph.json.gz")
    (run,) = lay_out(trace).runs
    (row,) = graph_use(trace, run)
    assert (row.graph_launches, row.graph_ops, row.nodes) == (1, 421, None)


def test_graphs_among_other_launches_of_a_real_trace(peers: Path) -> None:
    path = peers / "hta_negative_queue_length.json.gz"
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    ids = [e["args"]["correlation"] for e in events if e["name"] == "cudaGraphLaunch"]
    of_graphs = [
        e
        for e in events
        if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")
        and e["args"]["correlation"] in set(ids)
    ]
    trace = read_trace(path)
    (run,) = lay_out(trace).runs
    (row,) = graph_use(trace, run)
    assert (row.graph_launches, row.graph_ops) == (len(ids), len(of_graphs)) == (70, 345)
    assert row.kernel_sum_ns == sum(round(e["dur"] * 1000) for e in of_graphs)
    _assert_nodes_sum_to_graphs(trace, run)
    # Five training steps, each of which replays fourteen graphs once.
    assert {node.count for node in graph_nodes(trace, run)} == {5}
    assert {node.graph for node in graph_nodes(trace, run)} == set(range(14))


def test_every_node_of_a_real_decode_step_is_replayed_once_a_step() -> None:
    path = REPOSITORY / "tests/data/why/graphs/traces/graphs-1c8949fa.r0.k0.json.gz"
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    launches = [e for e in events if e["name"] == "cudaGraphLaunch"]
    replays = [
        sorted(
            (e["ts"], e["name"], round(e["dur"] * 1000))
            for e in events
            if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")
            and e["args"]["correlation"] == launch["args"]["correlation"]
        )
        for launch in launches
    ]
    assert [len(replay) for replay in replays] == [313] * 5
    trace = read_trace(path)
    (run,) = lay_out(trace).runs
    (row,) = graph_use(trace, run)
    assert (row.stage, row.graph_launches, row.graph_ops) == ("decode", 5, 5 * 313)
    assert row.nodes is None  # torch 2.11 writes no ids
    assert row.kernel_sum_ns == sum(ns for replay in replays for _, _, ns in replay)
    nodes = sorted(graph_nodes(trace, run), key=lambda node: node.node)
    by_place = list(zip(*replays, strict=True))
    assert [(n.told_by, n.graph, n.node, n.name, n.count, n.total_ns) for n in nodes] == [
        ("order", 0, place, ops[0][1], 5, sum(ns for _, _, ns in ops))
        for place, ops in enumerate(by_place)
    ]
    _assert_nodes_sum_to_graphs(trace, run)
