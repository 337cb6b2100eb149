"""The page `why`: one text for many runs, none without a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.paths import DATA
from trace_timing import analyze, schema
from trace_timing.report.html.sections.why import TITLES, over_runs, sentences
from trace_timing.report.palette import LABELS

#: Recorded by benchmarks/why_captures.py.
WHY_TRACES = DATA / "why"
KEY = ["sample_id", "repeat", "rank", "stage"]


def test_of_several_runs_the_longest_speaks() -> None:
    stages = pd.DataFrame(
        [("a", 0, 0, "decode", 10), ("b", 0, 0, "decode", 30), ("c", 0, 0, "decode", 20)],
        columns=[*KEY, "window_ns"],
    )
    verdicts = pd.DataFrame(
        [
            ("a", 0, 0, "decode", "host_bound", "A.", "ea", "r"),
            ("b", 0, 0, "decode", "host_bound", "B.", "eb", "r"),
        ],
        columns=[*KEY, "code", "sentence", "evidence", "remedy"],
    )
    assert sentences(verdicts, stages) == [
        "B.\nEvidence (of b; so in 2 of 3 runs): eb.\nTo shorten it: r."
    ]
    assert sentences(verdicts.iloc[:0], stages) == ["No stage gives evidence enough for a verdict."]


def test_a_real_trace_has_the_page_with_its_tables(h200: Path) -> None:
    data = analyze(h200 / "molmoe_1crop_user_scope.json.gz").report_data()
    (section,) = [s for s in data.sections if s.slug == "why"]
    assert any("7,211 cudaStreamSynchronize" in sentence for sentence in section.sentences)
    assert TITLES["idle"] in section.tables
    assert TITLES["graphs"] not in section.tables  # none was launched


def test_tables_of_several_runs_become_one_of_means() -> None:
    columns = [*KEY, "op_kind", "gpu_ops", "kernel_sum_ns", "busy_ns"]
    kinds = pd.DataFrame(
        [
            ("a", 0, 0, "decode", "gemm", 4, 3_000_000, 2_000_000),
            ("b", 0, 0, "decode", "gemm", 8, 5_000_000, 4_000_000),
            ("b", 0, 0, "decode", "sort", 1, 500_000, 500_000),
        ],
        columns=columns,
    )
    assert over_runs(kinds, schema.KINDS).values.tolist() == [
        ["decode", "gemm", 2, 6.0, 4.0, 3.0],
        ["decode", "sort", 1, 1.0, 0.5, 0.5],
    ]
    alone = over_runs(kinds.iloc[:1], schema.KINDS)
    assert list(alone) == ["stage", "op_kind", "gpu_ops", "kernel_sum_ms", "busy_ms"]


def test_a_rank_is_no_measure_and_an_assumption_holds_where_it_holds_in_all() -> None:
    names = [*(c.name for c in schema.RANKS if c.name not in ("sample_id", "repeat", "stage"))]
    ranks = pd.DataFrame(
        [
            (s, 0, "prefill", 4, slowest, 9, 1, 2, 30, 2, 3, 0)
            for s, slowest in (("a", 3), ("b", 1), ("c", 3))
        ],
        columns=["sample_id", "repeat", "stage", *names],
    )
    (row,) = over_runs(ranks, schema.RANKS).to_dict("records")
    assert (row["runs"], row["ranks"], row["slowest_rank"]) == (3, 4.0, 3)
    of_limits = [c.name for c in schema.LIMITS if c.name not in KEY]
    limits = pd.DataFrame(
        [
            (s, 0, 0, "decode", 1, 1, 1, 1, "memory", 1, 1, 0.5, holds)
            for s, holds in (("a", 1), ("b", 0))
        ],
        columns=[*KEY, *of_limits],
    ).astype({"holds": "bool"})
    (row,) = over_runs(limits, schema.LIMITS).to_dict("records")
    assert (row["bound_by"], row["holds"]) == ("memory", False)


def test_of_several_ranks_the_slowest_is_named() -> None:
    data = analyze(WHY_TRACES / "ranks").report_data()
    (section,) = [s for s in data.sections if s.slug == "why"]
    assert section.sentences[-1].startswith("Of 2 ranks, rank 1 is furthest behind, in prefill")
    assert "more than the fastest; they end" in section.sentences[-1]
    assert TITLES["ranks"] in section.tables


def test_a_sentence_says_that_nodes_are_numbered_by_order() -> None:
    (section,) = [
        s for s in analyze(WHY_TRACES / "graphs").report_data().sections if s.slug == "why"
    ]
    assert "where `told_by` is order" in section.sentences[-1]
    nodes = section.tables[TITLES["graph_nodes"]]
    assert len(nodes) == 313
    assert nodes["total_ms"].is_monotonic_decreasing
    whole = section.tables[TITLES["graphs"]]
    assert abs(nodes["total_ms"].sum() - whole["kernel_sum_ms"].sum()) < 1e-6


def test_a_real_capture_with_components_is_drawn_by_layer() -> None:
    analysis = analyze(WHY_TRACES / "components")
    (section,) = [s for s in analysis.report_data().sections if s.slug == "why"]
    layers = section.figures["Which layers keep it busy? Decode"].plotly()
    assert {bar.name for bar in layers.data} == {"attention", "experts", "norm", "router"}
    assert all(len(bar.x) == 16 for bar in layers.data)
    in_layers_ms = sum(sum(bar.y) for bar in layers.data)
    table = analysis.tables["components"].to_pandas()
    own = table[(table["stage"] == "decode") & table["layer"].notna()]
    assert abs(in_layers_ms * 1e6 - own["busy_ns"].sum()) < 1
    depth = section.figures[
        "How far is the host ahead? Ops launched and not started: components"
    ].plotly()
    assert max(depth.data[0].y) == analysis.tables["queue"].to_pandas()["max_depth"].max()


def test_bars_of_a_stage_sum_to_its_busy_and_idle_time(h200: Path) -> None:
    analysis = analyze(h200 / "llava_llama1b_user_scope.json.gz")
    (section,) = [s for s in analysis.report_data().sections if s.slug == "why"]
    stages = analysis.stages.set_index("stage")
    for title, column in (
        ("What does the GPU do in each stage?", "busy_ns"),
        ("What does the GPU wait for in each stage?", "idle_ns"),
    ):
        bars = section.figures[title].plotly().data
        stage_of = {label: stage for stage, label in LABELS.items()}
        for i, stage in enumerate(stage_of[label] for label in bars[0].y):
            height_ms = sum(bar.x[i] for bar in bars)
            assert abs(height_ms * 1e6 - stages.loc[stage, column]) < 1, (title, stage)
