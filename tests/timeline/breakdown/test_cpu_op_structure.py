"""The order of a forward's CPU ops tells its parts, or says why it cannot."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from tests.conftest import REPOSITORY
from trace_timing import analyze
from trace_timing.timeline.breakdown.components import RANGE_NAME, component_times
from trace_timing.timeline.breakdown.cpu_op_structure import Unknown, components_of_forward
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.events import Kind, Trace
from trace_timing.trace.files.reading import open_trace

#: Full profiles of an H200 with component ranges as well, by benchmarks/why_captures.py.
WHY_TRACES = REPOSITORY / "tests" / "data" / "why"

RMS = ["to", "pow", "mean", "add", "rsqrt", "mul", "to", "mul"]
ATTENTION = ["linear", "linear", "linear", "view", "cat", "add", "scaled_dot_product_attention"]
MLP = ["linear", "silu", "linear", "mul", "linear"]


def _forward(*ops: str) -> list[str]:
    return [f"aten::{op}" for op in ops]


def test_a_block_is_cut_at_the_norms_that_follow_an_addition() -> None:
    names = _forward(
        "embedding", *RMS, *ATTENTION, "linear", "add", *RMS, *MLP, "add", *RMS, "slice", "linear"
    )
    assert components_of_forward(names) == [
        ("rest", None),
        *[("norm", 0)] * 8,
        *[("attention", 0)] * 8,
        ("rest", None),
        *[("norm", 0)] * 8,
        *[("mlp", 0)] * 5,
        ("rest", None),
        *[("norm", None)] * 8,
        ("rest", None),
        ("head", None),
    ]


def test_a_half_with_one_product_feeds_nothing_forward() -> None:
    for mlp, told in ((["linear", "silu"], False), (["linear", "silu", "linear"], True)):
        half = ["layer_norm", *ATTENTION, "linear", "add", "layer_norm", *mlp, "add"]
        parts = components_of_forward(_forward("embedding", *half, "layer_norm", "linear"))
        assert isinstance(parts, Unknown) != told


def test_a_tower_norms_its_embeddings_and_ends_with_an_addition() -> None:
    half = ["layer_norm", *ATTENTION, "linear", "add", "layer_norm", "linear", "gelu", "linear"]
    parts = components_of_forward(
        _forward("conv2d", "layer_norm", *half, "add", *half, "add", "slice")
    )
    assert not isinstance(parts, Unknown)
    assert parts[:3] == [("rest", None), ("norm", None), ("norm", 0)]
    assert Counter(parts)["mlp", 1] == 3
    assert parts[-2:] == [("rest", None)] * 2


def test_written_out_attention_is_a_softmax_between_two_products_of_activations() -> None:
    eager = ["linear", "matmul", "mul", "softmax", "to", "matmul", "linear"]
    names = _forward("layer_norm", *eager, "add", "layer_norm", *MLP, "add", "layer_norm", "linear")
    parts = components_of_forward(names)
    assert not isinstance(parts, Unknown)
    assert Counter(parts)["attention", 0] == 7


def test_a_router_ends_with_its_top_k() -> None:
    moe = ["view", "linear", "softmax", "topk", "to", "sort", "index", "_grouped_mm", "mul"]
    names = _forward("layer_norm", *ATTENTION, "add", "layer_norm", *moe, "add", "layer_norm")
    parts = components_of_forward(names)
    assert not isinstance(parts, Unknown)
    assert parts[10:19] == [("router", 0)] * 5 + [("experts", 0)] * 4


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        (["layer_norm", *ATTENTION, *MLP, "add", "add", "layer_norm"], "do not alternate"),
        (["layer_norm", *MLP, "add", "layer_norm"], "no attention op"),
        (["CompiledFunction"], "no attention op"),
        ([], "no attention op"),
    ],
)
def test_where_the_order_does_not_tell_it_says_why(ops: list[str], reason: str) -> None:
    found = components_of_forward(_forward(*ops))
    assert isinstance(found, Unknown)
    assert reason in found.reason


def _without_ranges(trace: Trace) -> Trace:
    named = [i for i, name in enumerate(trace.names) if RANGE_NAME.fullmatch(name)]
    events = trace.events
    ranges = (events.kind == Kind.RANGE) & np.isin(events.name, named)
    return replace(trace, events=events.take(~ranges))


@pytest.mark.parametrize(("folder", "cells"), [("full_dense", 179), ("full_moe", 211)])
def test_on_real_traces_it_agrees_with_the_ranges_to_the_ns(folder: str, cells: int) -> None:
    (path,) = (WHY_TRACES / folder / "traces").glob("*.parquet")
    trace = open_trace(path, cpu_ops=True)
    (run,) = lay_out(trace).runs
    truth = component_times(trace, run)
    bare = _without_ranges(trace)
    (run,) = lay_out(bare).runs
    told = component_times(bare, run)
    assert {row.source for row in truth} == {"ranges"}
    assert {row.source for row in told} == {"cpu_ops"}
    assert len(told) == cells
    assert set(told) == {structs.replace(row, source="cpu_ops") for row in truth}


@pytest.mark.parametrize(("name", "layers"), [("llava_llama1b", 16), ("llava_olmoe", 16)])
def test_a_full_profile_without_ranges_is_told_by_layer(h200: Path, name: str, layers: int) -> None:
    trace = open_trace(h200 / f"{name}_cpu_cuda.json.gz", cpu_ops=True)
    (run,) = lay_out(trace).runs
    rows = component_times(trace, run)
    decode = [row for row in rows if row.stage == "decode"]
    assert {row.layer for row in decode if row.component == "attention"} == set(range(layers))
    feed = "experts" if name == "llava_olmoe" else "mlp"
    assert {row.layer for row in decode if row.component == feed} == set(range(layers))
    # Every layer does the same work.
    assert len({row.gpu_ops for row in decode if row.component == feed}) == 1
    ops = np.isin(run.ops.key, [i for i, key in enumerate(run.keys) if key.stage == "decode"])
    assert sum(row.gpu_ops for row in decode) == ops.sum()
    total = (run.ops.end_ns - run.ops.start_ns)[ops].sum()
    assert sum(row.kernel_sum_ns for row in decode) == total


def test_without_cpu_ops_and_ranges_there_are_no_parts(h200: Path) -> None:
    trace = open_trace(h200 / "llava_llama1b_user_scope.json.gz", cpu_ops=True)
    (run,) = lay_out(trace).runs
    assert component_times(trace, run) == ()


def test_analysis_reads_cpu_ops_where_a_full_profile_was_recorded_or_on_request(
    h200: Path,
) -> None:
    table = analyze(WHY_TRACES / "full_dense").tables["components"].to_pandas()
    assert set(table["source"]) == {"ranges"}
    others = h200 / "llava_llama1b_cpu_cuda.json.gz"
    assert analyze(others).tables["components"].num_rows == 0
    asked = analyze(others, components=True).tables["components"].to_pandas()
    assert set(asked["source"]) == {"cpu_ops"}
