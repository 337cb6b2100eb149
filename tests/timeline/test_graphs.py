"""Graph replays: whole by launch, by node where ids exist."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN, make_run, make_trace
from trace_timing.timeline.graphs import graph_nodes, graph_use
from trace_timing.timeline.layout import StageKey
from trace_timing.timeline.runs import lay_out
from trace_timing.trace.events import Kind
from trace_timing.trace.kineto import read_trace


def _replayed_twice() -> tuple:  # type: ignore[type-arg]
    trace = make_trace(
        ops=[
            (Kind.KERNEL, "nvjet_a", 10, 20),
            (Kind.KERNEL, "silu", 20, 25),
            (Kind.KERNEL, "nvjet_a", 40, 52),
            (Kind.KERNEL, "silu", 52, 57),
            (Kind.KERNEL, "nvjet_a", 60, 61),
        ],
        calls=[
            ("cudaGraphLaunch", 1, 5),
            ("cudaGraphLaunch", 31, 35),
            ("cudaLaunchKernel", 36, 37),
        ],
        correlations=[0, 0, 1, 1, 2],
    )
    nodes = np.array([4294967297, 4294967298, 4294967297, 4294967298, 0, -1, -1, -1], np.int64)
    trace = replace(trace, events=replace(trace.events, graph_node=nodes))
    run = make_run(trace, [StageKey("decode", 1)], (0, 61), [0] * 5, [(0, 0)])
    return trace, run


def test_replays_are_counted_by_launch() -> None:
    (row,) = graph_use(*_replayed_twice())
    assert (row.stage, row.graph_launches, row.graph_ops) == ("decode", 2, 4)
    assert (row.kernel_sum_ns, row.nodes) == (32, 2)


def test_replays_are_summed_by_node() -> None:
    first, second = graph_nodes(*_replayed_twice())
    assert (first.name, first.count, first.total_ns) == ("nvjet_a", 2, 22)
    assert (second.name, second.count, second.total_ns) == ("silu", 2, 10)


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
