"""The mean of controls and its interval: by hand, and by coverage on recorded series."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.interval_coverage import LATER, Series, covered, read_series, stopped, usable
from trace_timing.stats.methods.control_mean import (
    MULTIPLIERS,
    PRIOR_FREEDOM,
    PooledSpread,
    enough,
    interval,
    kept,
    mean,
    multiplier,
    pooled_spread,
    spread,
)

SERIES = read_series()
#: As a capture of many samples knows it.
POOLED = PooledSpread(np.array([0.02, 0.05, 0.03]), 100)


def controls(totals: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Two stages that sum to the total, and the total, of runs in the order made."""
    total = np.array(totals, float)
    return np.column_stack([total / 4, total * 3 / 4, total]), total


@pytest.mark.parametrize(
    ("totals", "middle"),
    [
        ([5, 1, 9], [1, 0, 2]),
        ([5, 1, 9, 7], [0, 3]),
        ([7, 1, 9, 5, 3], [4, 3, 0]),
        ([1, 2, 3, 4, 5, 6, 7, 80], [2, 3, 4, 5]),
        ([4], [0]),
    ],
)
def test_a_quarter_of_whole_runs_is_left_out_at_each_end(
    totals: list[int], middle: list[int]
) -> None:
    assert kept(np.array(totals)).tolist() == middle


def test_every_stage_is_the_mean_over_the_same_runs_so_stages_sum_to_the_total() -> None:
    rng = np.random.default_rng(5)
    stages = rng.lognormal(3, 1, (9, 4))
    means = mean(np.column_stack([stages, stages.sum(axis=1)]), stages.sum(axis=1))
    assert means[:4].sum() == pytest.approx(means[4], rel=1e-12)


def test_five_controls_by_hand() -> None:
    """Of 96, 98, 100, 103, 200 the middle is 98, 100, 103; winsorised 98, 98, 100, 103, 103."""
    stages, totals = controls([100, 96, 200, 103, 98])
    middle = (98 + 100 + 103) / 3
    centre = (98 + 98 + 100 + 103 + 103) / 5
    squares = 2 * (98 - centre) ** 2 + (100 - centre) ** 2 + 2 * (103 - centre) ** 2
    own = squares / 2 / middle**2
    relative = np.sqrt((PRIOR_FREEDOM * 0.03**2 + 2 * own) / (PRIOR_FREEDOM + 2))
    assert mean(stages, totals)[2] == pytest.approx(middle)
    assert spread(stages, totals, POOLED)[2] == pytest.approx(relative)
    found = interval(stages, totals, pooled=POOLED)
    assert found is not None
    low, high = found
    assert low[2] == pytest.approx(middle * np.exp(-MULTIPLIERS[5] * relative))
    assert high[2] == pytest.approx(middle * np.exp(MULTIPLIERS[5] * relative))


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_controls_take_the_pooled_spread_alone(count: int) -> None:
    stages, totals = controls([100, 140][:count])
    assert interval(stages, totals) is None
    found = interval(stages, totals, pooled=POOLED)
    assert found is not None
    wide = np.log(found[1] / found[0]) / 2
    assert wide == pytest.approx(MULTIPLIERS[count] * POOLED.relative)


def test_no_control_has_no_interval() -> None:
    assert interval(np.empty((0, 3)), np.empty(0), pooled=POOLED) is None


def test_equal_values_have_no_width_of_their_own_and_the_captures_where_it_is_known() -> None:
    stages, totals = controls([50, 50, 50, 50])
    alone = interval(stages, totals)
    assert alone is not None
    assert alone[0].tolist() == alone[1].tolist() == [12.5, 37.5, 50]
    within = interval(stages, totals, pooled=POOLED)
    assert within is not None
    assert (within[0] < 50).all()
    assert within[1][2] > 50


def test_a_stage_that_takes_no_time_has_no_width() -> None:
    stages = np.column_stack([np.zeros(3), [5.0, 6.0, 7.0]])
    found = interval(stages, stages.sum(axis=1))
    assert found is not None
    assert (found[0][0], found[1][0]) == (0, 0)
    assert found[0][1] < 6 < found[1][1]


def test_the_pooled_spread_by_hand() -> None:
    """Of 98, 102 and of 99, 100, 101: variances 8 and 1 with 1 and 2 degrees of freedom."""
    found = pooled_spread([controls([98, 102]), controls([99, 100, 101]), controls([70])])
    assert found is not None
    assert found.freedom == 3
    assert found.relative == pytest.approx(np.sqrt((8 + 2 * 1) / 3) / 100)
    assert pooled_spread([controls([70])]) is None


def test_one_stalled_sample_of_twenty_does_not_widen_the_others() -> None:
    steady = [controls([99, 101])] * 19
    found = pooled_spread([*steady, controls([100, 1000])])
    assert found is not None
    assert found.relative == pytest.approx(np.sqrt(2) / 100)


def test_where_less_is_known_of_the_spread_the_interval_is_wider() -> None:
    few = PooledSpread(POOLED.relative, 3)
    assert multiplier(3, POOLED) < multiplier(3, few) < multiplier(3, None)


def test_samples_done_at_once_are_as_each_alone() -> None:
    totals = np.random.default_rng(6).lognormal(3, 0.1, (4, 6))
    stages = np.stack([totals * 0.25, totals * 0.75, totals], axis=-1)
    together = interval(stages, totals, pooled=POOLED)
    each = [interval(s, t, pooled=POOLED) for s, t in zip(stages, totals, strict=True)]
    assert together is not None
    for i, alone in enumerate(each):
        assert alone is not None
        assert together[0][i].tolist() == alone[0].tolist()
        assert together[1][i].tolist() == alone[1].tolist()


def test_enough_is_the_half_width_of_the_total() -> None:
    quiet = PooledSpread(np.array([0.002]), 100)
    assert enough(np.array([100, 100.1, 99.9, 100, 100]), 0.01, quiet)
    assert not enough(np.array([100, 100.1, 99.9, 100, 100]), 0.001, quiet)
    assert not enough(np.array([100, 108, 95, 100, 103.0]), 0.01, quiet)
    assert enough(np.array([100.0]), 0.01, quiet)


def test_nothing_is_enough_where_only_the_samples_own_controls_tell_the_spread() -> None:
    """Two or three of them agree by chance often enough: stopping there covered half of them."""
    assert not enough(np.full(3, 100.0), 0.5)
    assert interval(*controls([50, 50, 50]), sequential=True) is None


@pytest.mark.parametrize("count", range(1, 31))
def test_95_percent_covers_93_to_97_of_stretches_of_recorded_series(count: int) -> None:
    """Heavy tails and drift included: consecutive runs, never dealt anew."""
    rng = np.random.default_rng(count)
    shares = [covered(one, count, rng, captures=12)[-1] for one in usable(SERIES, count)]
    assert 0.93 <= np.mean(shares) <= 0.97


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 12, 20, 30, 40])
def test_series_that_the_table_was_not_read_from_are_covered_too(count: int) -> None:
    """Other hosts, recorded later."""
    later = usable(read_series(LATER), count)
    assert len(later) == 4
    shares = [covered(one, count, np.random.default_rng(count), captures=8)[-1] for one in later]
    assert np.mean(shares) >= 0.93


@pytest.mark.parametrize("count", [2, 3, 5, 8, 15])
def test_stages_are_covered_no_less_than_totals(count: int) -> None:
    shares = [
        covered(one, count, np.random.default_rng(count), captures=8)[:-1].mean()
        for one in usable(SERIES, count)
    ]
    assert np.mean(shares) >= 0.93


@pytest.mark.parametrize("precision", [0.03, 0.05, 0.1, 0.15])
def test_stopping_at_a_precision_leaves_coverage_as_it_is(precision: float) -> None:
    found = [stopped(one, precision, np.random.default_rng(3), captures=8) for one in SERIES]
    assert 0.93 <= np.mean([share for share, _ in found]) <= 0.985


def test_students_t_would_not_cover_these_series() -> None:
    """What the calibrated multipliers are for: the textbook interval on the same stretches."""
    from scipy import special

    shares = []
    for one in usable(SERIES, 5):
        runs = Series(one.name, one.columns).stretches(5)[..., -1]
        half = special.stdtrit(4, 0.975) * runs.std(axis=1, ddof=1) / np.sqrt(5)
        shares.append((np.abs(runs.mean(axis=1) - one.truth[-1]) <= half).mean())
    assert np.mean(shares) < 0.75


def test_a_sample_without_a_column_says_nothing_of_it_and_leaves_the_others_theirs() -> None:
    nan = float("nan")
    both = np.array([[10.0, 90.0], [11.0, 99.0]])
    alone = np.array([[10.0, nan], [12.0, nan]])
    totals = np.array([100.0, 110.0])
    found = pooled_spread([(both, totals), (alone, totals)])
    known = pooled_spread([(both, totals)])
    assert found is not None
    assert known is not None
    assert found.relative[1] == known.relative[1]
    assert found.relative[0] > known.relative[0]
    assert pooled_spread([(alone[:, 1:], totals)]) is None
    never = pooled_spread([(alone, totals)])
    assert never is not None
    assert np.isnan(never.relative).tolist() == [False, True]
