"""Summaries against hand-computed answers, scipy and a real capture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trace_timing.api.analysis import analyze
from trace_timing.errors import UsageError
from trace_timing.records import RunRecord
from trace_timing.stats.bootstrap import interval
from trace_timing.stats.scaling import fit_line
from trace_timing.stats.summaries import (
    causes,
    mad,
    noise_floor,
    outliers,
    summarise,
    summary_table,
)


def test_a_summary_by_hand() -> None:
    found = summarise(np.array([*range(1, 11), np.nan], float))
    assert found is not None
    assert (found.n, found.median, found.mean, found.mad) == (10, 5.5, 5.5, 2.5)
    assert (found.p90, found.p95, found.p99) == pytest.approx((9.1, 9.55, 9.91))
    assert summarise(np.array([np.nan])) is None


def test_mad_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).lognormal(size=50)
    assert mad(values) == pytest.approx(stats.median_abs_deviation(values))


def test_the_bootstrap_interval_is_seeded_and_is_scipys() -> None:
    values = np.random.default_rng(2).lognormal(size=40)
    known = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, random_state=np.random.default_rng(9)
    ).confidence_interval
    ours = interval(values, np.mean)
    assert ours is not None
    assert ours == interval(values, np.mean)
    assert (ours.low, ours.high) == pytest.approx((known.low, known.high), rel=0.03)


def test_equal_values_have_an_interval_without_width_and_two_have_none() -> None:
    found = interval(np.full(5, 3.0))
    assert found is not None
    assert (found.low, found.high) == (3, 3)
    assert interval(np.array([1.0, 2.0])) is None


def test_the_outlier_bound_is_3_5() -> None:
    # MAD 1 around 0: the modified z is 0.6745 x, so 5.19 crosses 3.5 and 5.18 does not.
    values = np.array([-1, -1, 0, 1, 1, 0, 5.18])
    assert not outliers(np.array([-1, -1, 0, 1, 1, 0, 5.18])).any()
    assert outliers(np.where(values == 5.18, 5.20, values)).tolist() == [False] * 6 + [True]
    assert not outliers(np.array([3, 3, 3, 3, 900.0])).any()


def test_a_line_is_found_under_an_outlier() -> None:
    x = np.arange(10.0)
    y = 5 + 2 * x
    y[9] = 1_000
    fit = fit_line(x, y)
    assert fit is not None
    assert (fit.slope, fit.intercept) == pytest.approx((2, 5))
    assert fit.slope_interval is not None
    assert fit.slope in fit.slope_interval
    assert fit_line(np.ones(9), y[:9]) is None


def test_four_points_bear_no_interval_at_95_percent_and_five_do() -> None:
    # All slopes together miss in 2 of n! orders: 8.3 % of four points, 1.7 % of five.
    x = np.arange(5.0)
    y = np.array([0, 3, 4, 9, 11.0])
    four, five = fit_line(x[:4], y[:4]), fit_line(x, y)
    assert four is not None
    assert five is not None
    assert four.slope_interval is None
    assert five.slope_interval is not None


def record(i: int, *, mhz: float = 1_900, retries: int = 0) -> RunRecord:
    machine = {
        "before": {"devices": [{"sm_mhz": 1_900, "alloc_retries": 0}]},
        "after": {"devices": [{"sm_mhz": mhz, "alloc_retries": retries}]},
    }
    return RunRecord(sample_id=f"s{i}", role="profiled", repeat=0, ordinal=i, machine=machine)


def test_the_machines_state_names_causes() -> None:
    found = causes([record(0), record(1, mhz=1_700), record(2, retries=1), record(3)])
    assert [found[f"s{i}", 0, 0] for i in range(4)] == [
        ("first_run",),
        ("clock_drop",),
        ("allocator",),
        (),
    ]


def test_noise_floor_by_hand() -> None:
    table = pd.DataFrame({"sample_id": list("aaabb"), "T_total_ms": [9.0, 10, 12, 1, 5]})
    assert noise_floor(table) == pytest.approx(0.1)
    assert noise_floor(table[3:]) is None


def test_a_real_run_is_summarised_and_grouped(h200: Path) -> None:
    samples = analyze(h200 / "llava_llama1b_user_scope.json.gz").samples.assign(crops=1)
    table = summary_table(samples, by=["crops"])
    total = table[table["time"] == "T_total_ms"].iloc[0]
    assert (total["n"], total["crops"]) == (1, 1)
    assert total["median_ms"] == samples["T_total_ms"].iloc[0]
    with pytest.raises(UsageError, match="no column colour"):
        summary_table(samples, by=["colour"])
