"""Straight lines under outliers, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trace_timing.stats.methods.trend import fit_line


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


@pytest.mark.parametrize("n", [5, 12, 33, 200])
@pytest.mark.parametrize("rounded", [True, False])
def test_line_and_interval_are_scipys(n: int, rounded: bool) -> None:
    rng = np.random.default_rng(n)
    x = rng.integers(0, 8, n).astype(float) if rounded else rng.normal(size=n)
    y = 2 * x + rng.normal(size=n)
    y = np.round(y) if rounded else y
    ours, known = fit_line(x, y), stats.theilslopes(y, x, alpha=0.95, method="joint")
    assert ours is not None
    assert ours.slope_interval is not None
    assert (ours.slope, ours.intercept) == (known.slope, known.intercept)
    assert (ours.slope_interval.low, ours.slope_interval.high) == (
        known.low_slope,
        known.high_slope,
    )


def test_many_points_are_drawn_by_seed() -> None:
    x = np.arange(5_000.0)
    y = 3 * x + np.random.default_rng(1).normal(size=5_000)
    first, second = fit_line(x, y), fit_line(x, y)
    assert first is not None
    assert (first.points, first) == (2_000, second)
    assert first.slope == pytest.approx(3, abs=1e-3)


def test_tied_points_bear_a_line_and_no_interval() -> None:
    fit = fit_line(np.array([1.0, 2, 3] * 8), np.ones(24))
    assert fit is not None
    assert (fit.slope, fit.intercept, fit.slope_interval) == (0, 1, None)
