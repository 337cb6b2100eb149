"""Where latencies come from, on captures and others' traces, through `trace_timing.analyze`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.api.made_captures import (
    OLDER,
    capture,
    controls_only,
    of_short,
    records,
    renamed,
    several_samples,
)
from trace_timing import analyze, schema


def partitioned(samples: pd.DataFrame) -> bool:
    """Whether the parts of every row sum to its total, whatever kind of time."""
    for kind in ("", "_busy", "_recorded"):
        rows = samples[samples[f"T_total{kind}_ms"].notna()]
        parts = rows[[f"{part}{kind}_ms" for part in schema.SAMPLE_PARTS]].astype(float)
        left = (parts.sum(axis=1) - rows[f"T_total{kind}_ms"].astype(float)).abs()
        assert (left < 1e-9 * rows[f"T_total{kind}_ms"].astype(float)).all()
    return True


def test_control_and_attached_on_a_capture_of_the_older_format() -> None:
    analysis = analyze(OLDER)
    rows = analysis.samples.set_index("sample_id")
    assert rows["latency_source"].to_dict() == {
        "short": "control", "medium": "attached", "long": "attached"
    }  # fmt: skip
    assert rows["usable"].to_dict() == {"short": True, "medium": False, "long": False}
    assert rows["controls"].to_dict() == {"short": 3, "medium": 4, "long": 5}
    early, _ = of_short()
    totals = [r["control"]["total_ns"] / 1e6 for r in early]
    assert rows.loc["short", "T_total_ms"] == pytest.approx(sum(totals) / 3)
    assert (rows["T_total_lo_ms"] < rows["T_total_ms"]).all()
    assert (rows["T_total_ms"] < rows["T_total_hi_ms"]).all()
    assert partitioned(analysis.samples)
    runs = analysis.runs
    assert runs["role"].value_counts().to_dict() == {"control": 18, "recorded": 3}
    keys = runs[["sample_id", "repeat", "rank", "role", "index"]]
    assert not keys.duplicated().any()
    counted = runs[runs["counted"] == True]  # noqa: E712
    assert set(counted[counted["sample_id"] == "short"]["cupti"]) == {"never"}


def test_scaled_where_other_samples_have_controls(tmp_path: Path) -> None:
    analysis = analyze(several_samples(tmp_path, 5, controlled=lambda i: i < 4))
    rows = analysis.samples.set_index("sample_id")
    assert rows["latency_source"].tolist() == ["control"] * 4 + ["scaled"]
    # All have the same trace and controls: what is predicted is what was measured.
    for time in ("T_total_ms", "T_LLM_decode_ms", "T_TTFT_ms"):
        assert rows.loc["s4", time] == pytest.approx(rows.loc["s0", time])
    assert (rows.loc["s4", "usable"], rows.loc["s4", "reasons"]) == (True, "")
    steps = analysis.steps
    assert steps.loc[steps["sample_id"] == "s4", "latency_ns"].isna().all()
    assert partitioned(analysis.samples)


def test_recorded_where_there_is_a_trace_alone() -> None:
    analysis = analyze(next((OLDER / "traces").glob("short*")))
    (row,) = analysis.samples.to_dict("records")
    assert (row["latency_source"], row["usable"], row["reasons"]) == (
        "recorded", False, "no_control",
    )  # fmt: skip
    assert row["T_total_lo_ms"] == row["T_total_busy_ms"] < row["T_total_hi_ms"]
    assert partitioned(analysis.samples)
    assert not analysis.steps["usable"].any()


def test_a_capture_of_which_nothing_was_recorded(tmp_path: Path) -> None:
    analysis = analyze(controls_only(tmp_path))
    assert analysis.exit_code == 0
    assert analysis.samples["latency_source"].tolist() == ["control", "attached", "attached"]
    assert set(analysis.runs["role"]) == {"control"}
    assert len(analysis.steps) == 3 + 11 + 19
    assert analysis.steps["latency_ns"].notna().all()
    assert len(analysis.stages) == 0
    assert partitioned(analysis.samples)


def test_several_runs_of_others_in_one_trace_are_samples_of_their_own(tmp_path: Path) -> None:
    ranges = [
        {"ph": "X", "cat": "user_annotation", "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": d}
        for start in (0, 1000)
        for name, ts, d in (("generate", start, 900), ("prefill", start + 100, 500))
    ]
    (tmp_path / "two.json").write_text(json.dumps({"traceEvents": ranges}))
    analysis = analyze(tmp_path / "two.json")
    for table in (analysis.samples, analysis.runs, analysis.stages):
        assert table["sample_id"].unique().tolist() == ["two#0", "two#1"]
    rows = analysis.samples
    assert (rows["clock"].unique().tolist(), rows["T_total_ms"].tolist()) == (["host"], [0.9, 0.9])
    assert rows["T_total_lo_ms"].isna().all()
    assert rows["T_total_hi_ms"].isna().all()


def test_repeats_of_one_sample_are_one_row(tmp_path: Path) -> None:
    early, recorded = of_short()
    analysis = analyze(capture(tmp_path, [*early, recorded, {**recorded, "repeat": 1}]))
    (row,) = analysis.samples.to_dict("records")
    assert (row["recorded_runs"], row["latency_source"]) == (2, "control")
    assert len(analysis.steps) == 6
    by_step = analysis.steps.groupby("step")["latency_ns"].nunique()
    assert by_step.tolist() == [1, 1, 1]


def test_controls_of_another_number_of_tokens_do_not_count(tmp_path: Path) -> None:
    early, recorded = of_short()
    lines = [{**early[0], "tokens_out": 3}, *early[1:], recorded]
    analysis = analyze(capture(tmp_path, lines))
    assert analysis.samples["controls"].tolist() == [2]
    assert "token_count_differs" in {w.code for w in analysis.warnings}


def test_two_captures_with_the_same_sample_ids_are_told_apart_by_their_folders(
    tmp_path: Path,
) -> None:
    early, recorded = of_short()
    capture(tmp_path / "one", [*early, recorded, renamed(recorded, "alone")])
    capture(tmp_path / "two", [*early[:1], recorded])
    analysis = analyze(tmp_path / "one", tmp_path / "two")
    rows = analysis.samples.set_index("sample_id")
    assert rows["controls"].to_dict() == {"one/short": 3, "alone": 0, "two/short": 1}
    assert set(analysis.runs["sample_id"]) == {"one/short", "alone", "two/short"}
    assert set(analysis.steps["sample_id"]) == {"one/short", "alone", "two/short"}
    details = {detail.run.sample_id for detail in analysis.details}
    assert details == {"one/short", "alone", "two/short"}
    recorded = analysis.runs[analysis.runs["role"] == "recorded"]
    assert recorded["trace"].is_unique


def test_a_capture_named_twice_or_with_a_trace_of_its_own_counts_once() -> None:
    trace = next((OLDER / "traces").glob("short*"))
    analysis = analyze(trace, OLDER, f"{OLDER}/", trace)
    assert analysis.samples["sample_id"].tolist() == ["short", "medium", "long"]
    assert len(analysis.runs) == 21


def test_a_trace_that_cannot_be_read_costs_no_latency(tmp_path: Path) -> None:
    folder = capture(tmp_path, records())
    next((folder / "traces").glob("short*")).write_bytes(b"damaged")
    analysis = analyze(folder)
    rows = analysis.samples.set_index("sample_id")
    assert rows.loc["short", ["latency_source", "recorded_runs"]].tolist() == ["control", 0]
    assert len(analysis.rejections) == 1
    assert analysis.exit_code == 1


@pytest.mark.slow
def test_the_tables_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    """What comes back from another process is a copy, and belongs to its capture all the same."""
    folder = several_samples(tmp_path, 9, controlled=lambda i: i % 2 == 0)
    alone, spread = analyze(folder), analyze(folder, jobs=2)
    for name in ("samples", "runs", "steps"):
        assert alone.tables[name].equals(spread.tables[name]), name
    assert set(spread.samples["recorded_runs"]) == {1}
