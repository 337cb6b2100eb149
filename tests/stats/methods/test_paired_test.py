"""Tests of one figure, against scipy and against answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trace_timing.stats.methods.multiple_testing import shares, weighted_holm
from trace_timing.stats.methods.paired_test import grouped_effect, paired_effect, signed_rank_p


def noise(n: int, seed: int = 1) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.exp(np.random.default_rng(seed).normal(0.02, 0.05, n))


def test_few_pairs_use_students_t() -> None:
    b = noise(8)
    effect = paired_effect(np.ones(8), b)
    assert effect is not None
    known = stats.ttest_1samp(np.log(b), 0)
    assert effect.p == pytest.approx(known.pvalue)
    around, theirs = effect.interval(0.95), known.confidence_interval(0.95)
    assert (around.low, around.high) == pytest.approx((theirs.low, theirs.high))


def test_many_pairs_use_ranks() -> None:
    b = noise(40)
    effect = paired_effect(np.ones(40), b)
    assert effect is not None
    known = stats.wilcoxon(np.log(b), method="approx", correction=False)
    assert effect.p == pytest.approx(known.pvalue)
    assert effect.log_ratio in effect.interval(0.95)
    assert effect.spread == pytest.approx(0.05, rel=0.3)


def test_ranks_agree_with_scipy_on_ties_and_zeros() -> None:
    d = np.array([0, 0, 1, 1, 1, -1, 2, 2, -2, 3, 4, 5, -6, 7, 8, 9, 9, 9, 10, 11.0])
    known = stats.wilcoxon(d, zero_method="pratt", method="approx", correction=False)
    assert signed_rank_p(d) == pytest.approx(known.pvalue, rel=1e-6)


def test_the_middle_is_that_of_hodges_and_lehmann() -> None:
    d = np.arange(20.0) ** 2
    walsh = [(x + y) / 2 for i, x in enumerate(d) for y in d[i:]]
    effect = paired_effect(np.ones(20), np.exp(d))
    assert effect is not None
    assert effect.log_ratio == pytest.approx(np.median(walsh))


def test_one_stall_does_not_hide_a_change() -> None:
    b = np.exp(np.random.default_rng(3).normal(0.05, 0.01, 30))
    b[0] = 20.0
    effect = paired_effect(np.ones(30), b)
    assert effect is not None
    assert effect.p < 1e-4
    assert np.exp(effect.log_ratio) == pytest.approx(1.05, abs=0.01)


@pytest.mark.parametrize("n", [5, 25])
def test_equal_pairs_say_nothing(n: int) -> None:
    effect = paired_effect(np.full(n, 3.0), np.full(n, 3.0))
    assert effect is not None
    assert (effect.p, effect.log_ratio, effect.spread) == (1.0, 0.0, 0.0)


def test_three_pairs_are_too_few() -> None:
    assert paired_effect(np.ones(3), np.full(3, 2.0)) is None
    assert grouped_effect(np.ones(3), np.ones(9)) is None


def test_groups_use_welch() -> None:
    a, b = noise(9), noise(14, 2)
    effect = grouped_effect(a, b)
    assert effect is not None
    known = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    assert effect.p == pytest.approx(known.pvalue)
    around, theirs = effect.interval(0.95), known.confidence_interval(0.95)
    assert (around.low, around.high) == pytest.approx((theirs.low, theirs.high))


def test_equal_shares_give_holm() -> None:
    from statsmodels.stats.multitest import multipletests

    p = [0.001, 0.004, 0.0051, 0.3, 0.009]
    known = multipletests(p, alpha=0.02, method="holm")[0]
    assert weighted_holm(p, [0.2] * 5).tolist() == known.tolist()


def test_a_rejected_one_leaves_its_share_to_the_rest() -> None:
    # By hand: 0.012 ≤ 0.02 · 0.75 rejects the first; then 0.012 ≤ 0.02 · 1 rejects the second.
    assert weighted_holm([0.012, 0.012], [0.75, 0.25]).tolist() == [True, True]
    assert weighted_holm([0.016, 0.012], [0.75, 0.25]).tolist() == [False, False]


def test_a_group_shares_its_weight_and_absent_groups_leave_theirs() -> None:
    weights = {"total": 0.5, "stage": 0.3, "kernel": 0.2}
    assert shares(["total", "stage", "stage"], weights) == pytest.approx([0.625, 0.1875, 0.1875])


def test_an_interval_by_ranks_mirrors_with_the_pairs() -> None:
    """Which capture is called A says nothing of how sure the difference is."""
    for n in (20, 21, 40):
        d = np.log(noise(n))
        one, other = (paired_effect(np.ones(n), np.exp(x)) for x in (d, -d))
        assert one is not None
        assert other is not None
        for level in (0.5, 0.95, 0.999):
            left, right = one.interval(level), other.interval(level)
            assert (left.low, left.high) == pytest.approx((-right.high, -right.low), rel=1e-9)


def test_the_interval_by_ranks_is_between_averages_counted_by_hand() -> None:
    """Of n (n + 1) / 2 averages, as many lie outside at either end as the normal quantile says."""
    n = 20
    d = np.arange(float(n)) ** 1.5
    walsh = np.sort([(x + y) / 2 for i, x in enumerate(d) for y in d[i:]])
    deviation = stats.norm.ppf(0.975) * np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    tail = 0.5 - deviation / len(walsh)
    outside = int(np.floor(tail * (len(walsh) - 1)))
    effect = paired_effect(np.ones(n), np.exp(d))
    assert effect is not None
    around = effect.interval(0.95)
    assert (around.low, around.high) == pytest.approx((walsh[outside], walsh[-1 - outside]))


def test_of_1500_pairs_all_averages_are_taken() -> None:
    d = np.random.default_rng(5).normal(0, 1, 1_500)
    effect = paired_effect(np.ones(len(d)), np.exp(d))
    assert effect is not None
    i, j = np.triu_indices(len(d))
    assert effect.log_ratio == pytest.approx(np.median((d[i] + d[j]) / 2), abs=1e-12)
