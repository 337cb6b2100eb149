"""Summaries against hand-computed answers, scipy and a real capture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trace_timing.api.analysis import analyze
from trace_timing.errors import UsageError
from trace_timing.schema import SAMPLE_TIMES
from trace_timing.stats.summaries import summarise, summary_table

SAMPLES = Path(__file__).resolve().parents[2] / "sample_traces"


def test_a_summary_by_hand() -> None:
    found = summarise(np.array([*range(1, 11), np.nan], float))
    assert found is not None
    assert (found.n, found.median, found.mean, found.mad) == (10, 5.5, 5.5, 2.5)
    assert (found.p90, found.p95, found.p99) == pytest.approx((9.1, 9.55, 9.91))
    assert found.cv_frac == pytest.approx(np.std(range(1, 11), ddof=1) / 5.5)
    alone = summarise(np.array([3.0]))
    assert alone is not None
    assert alone.cv_frac is None
    assert summarise(np.array([np.nan])) is None


@pytest.fixture(scope="module")
def sample_rows() -> pd.DataFrame:
    return analyze(SAMPLES).samples


def test_the_sample_traces_are_summarised_as_numpy_and_scipy_do(sample_rows: pd.DataFrame) -> None:
    table = summary_table(sample_rows).set_index("time")
    assert len(table) == len(SAMPLE_TIMES)
    for time, row in table.iterrows():
        values = sample_rows[time].to_numpy(float)
        assert row["n"] == 3
        assert row["median_ms"] == np.median(values)
        assert row["mean_ms"] == pytest.approx(np.mean(values))
        assert (row["p90_ms"], row["p95_ms"], row["p99_ms"]) == pytest.approx(
            tuple(np.percentile(values, [90, 95, 99]))
        )
        assert row["cv_frac"] == pytest.approx(stats.variation(values, ddof=1))
        assert row["mad_ms"] == pytest.approx(stats.median_abs_deviation(values))
        # Three values have no interval that holds whatever their distribution.
        assert pd.isna(row["median_lo_ms"])
        assert pd.isna(row["median_hi_ms"])


def test_groups_of_several_metadata_keys_are_summarised_apart() -> None:
    rows = pd.DataFrame(
        [
            {
                "sample_id": f"s{i}",
                "crops": crops,
                "top_k": k,
                **{f"{t}_ms": ms for t in SAMPLE_TIMES},
            }
            for i, (crops, k, ms) in enumerate(
                [(1, 4, 10.0), (1, 4, 30.0), (1, 8, 7.0), (2, 4, 5.0)]
            )
        ]
    )
    table = summary_table(rows, by=["crops", "top_k"])
    total = table[table["time"] == "T_total_ms"]
    assert total[["crops", "top_k", "n", "median_ms"]].values.tolist() == [
        [1, 4, 2, 20],
        [1, 8, 1, 7],
        [2, 4, 1, 5],
    ]


def test_the_ranks_of_a_sample_count_once() -> None:
    rows = pd.DataFrame(
        [
            {"sample_id": i, **{f"{t}_ms": ms for t in SAMPLE_TIMES}}
            for i, ms in [("a", 1.0), ("a", 2.0), ("a", 9.0), ("b", 4.0)]
        ]
    )
    (total,) = summary_table(rows).query("time == 'T_total_ms'").to_dict("records")
    assert (total["n"], total["median_ms"], total["mean_ms"]) == (2, 3, 3)


def test_the_sample_traces_are_grouped_by_their_metadata(sample_rows: pd.DataFrame) -> None:
    table = summary_table(sample_rows, by=["n_images", "n_text_tokens"])
    decode = table[table["time"] == "T_decode_per_token_ms"]
    assert decode[["n_images", "n_text_tokens", "n"]].values.tolist() == [
        [1, 4, 1],
        [1, 10, 1],
        [1, 57, 1],
    ]
    by_tokens = sample_rows.set_index("n_text_tokens")["T_decode_per_token_ms"]
    assert decode["median_ms"].tolist() == [by_tokens[n] for n in (4, 10, 57)]


def test_a_real_run_is_summarised_and_grouped(h200: Path) -> None:
    samples = analyze(h200 / "llava_llama1b_user_scope.json.gz").samples.assign(crops=1)
    table = summary_table(samples, by=["crops"])
    total = table[table["time"] == "T_total_ms"].iloc[0]
    assert (total["n"], total["crops"]) == (1, 1)
    assert total["median_ms"] == samples["T_total_ms"].iloc[0]
    with pytest.raises(UsageError, match="no column colour"):
        summary_table(samples, by=["colour"])
