"""Training rows: what is usable, why the rest is not, and that a model fits them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.stats.label_rows import run, step_table
from trace_timing.api.analysis import analyze
from trace_timing.records import RunRecord
from trace_timing.stats.labels import LabelTables, label_rows


def labels(rows: list[dict[str, object]], records: tuple[RunRecord, ...] = ()) -> LabelTables:
    samples = pd.DataFrame(rows)
    return label_rows(samples, step_table(samples), records)


def test_one_row_a_sample_with_features_targets_and_intervals() -> None:
    table = labels([run(0, repeat) for repeat in range(3)]).samples
    (row,) = table.to_dict("records")
    assert (row["crops"], row["input_tokens"], row["repeats"], row["usable"]) == (1, 100, 3, True)
    assert row["T_sampling_ms"] == 6
    # Student's t by hand: 6 ± 4.303 · 1 ÷ √3.
    assert row["T_sampling_hi_ms"] == pytest.approx(8.484, abs=1e-3)


def test_one_repeat_has_no_interval() -> None:
    table = labels([run(0, 0)]).samples
    assert table["T_sampling_lo_ms"].isna().all()


def test_one_token_is_usable_for_all_but_decode() -> None:
    row = labels([run(0, 0, steps=0), run(1, 0)]).samples.iloc[0]
    assert (row["usable"], row["usable_decode"], row["reasons"]) == (True, False, "no_decode_step")


def test_a_spoiling_doubt_makes_a_row_unusable_and_a_mild_one_does_not() -> None:
    made = labels([run(0, 0, doubts="lost_ops"), run(1, 0, doubts="rounded_to_us")])
    assert made.samples["usable"].tolist() == [False, True]
    assert made.samples["reasons"].tolist() == ["lost_ops", ""]
    assert made.steps.groupby("sample_id")["usable"].all().tolist() == [False, True]


def test_an_explained_outlier_is_left_out_of_the_median_and_named() -> None:
    rows = [run(0, k, slow=10 if k == 0 else 1 + k / 100) for k in range(6)]
    first = RunRecord(sample_id="s0", role="recorded", repeat=0, ordinal=0)
    (row,) = labels(rows, (first,)).samples.to_dict("records")
    assert (row["repeats"], row["usable"], row["reasons"]) == (5, True, "outlier_first_run")
    (kept,) = labels(rows).samples.to_dict("records")
    assert kept["repeats"] == 6


def test_one_row_a_step_with_position_and_cache_length() -> None:
    steps = labels([run(0, 0)]).steps
    assert steps["position"].tolist() == [1, 2, 3]
    assert steps["kv_length"].tolist() == [101, 102, 103]


def test_a_real_trace_gives_rows(h200: Path) -> None:
    analysis = analyze(h200 / "llava_llama1b_user_scope.json.gz")
    made = label_rows(analysis.samples, analysis.steps)
    assert len(made.samples) == analysis.samples["sample_id"].nunique()
    assert len(made.steps) == (analysis.steps["stage"] == "decode").sum() == 11
    assert made.samples["T_LLM_prefill_ms"].gt(0).all()
