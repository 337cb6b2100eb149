"""The moderated t of capture means: by hand, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trace_timing.stats.comparison.capture_effect import CaptureEffect, Drift, capture_effect

DRIFT = Drift(0.05, 8)


def captures(rng: np.random.Generator, count: int, drift: float, n: int = 24) -> list[np.ndarray]:
    """Captures of n samples, each of which strays as a whole; a sample has a size of its own."""
    size = np.exp(np.random.default_rng(0).normal(3, 0.5, n))
    return [size * np.exp(rng.normal(0, drift) + rng.normal(0, 0.02, n)) for _ in range(count)]


def effect(a: list[np.ndarray], b: list[np.ndarray], **more: float) -> CaptureEffect:
    found = capture_effect(a, b, DRIFT, paired=True, **more)
    assert found is not None
    return found


def test_one_capture_a_side_has_the_prior_alone() -> None:
    """Samples that agree to the last digit have no spread: what is left is √2 · 5 %, t of 8."""
    a = np.array([10.0, 20, 30, 40])
    found = effect([a], [a * 1.2])
    assert found.log_ratio == pytest.approx(np.log(1.2))
    assert (found.n, found.freedom) == (1, 8)
    assert found.error == pytest.approx(np.sqrt(2) * 0.05)
    assert found.p == pytest.approx(2 * stats.t.sf(np.log(1.2) / (np.sqrt(2) * 0.05), 8))
    half = stats.t.ppf(0.975, 8) * found.error
    around = found.interval(0.95)
    assert (around.low, around.high) == pytest.approx((np.log(1.2) - half, np.log(1.2) + half))


def test_several_captures_a_side_by_hand() -> None:
    """Means of A −0.1 and 0.1 about its own, of B all alike: 0.02 ÷ 2, moderated with 8 × 0.05²."""
    size = np.array([10.0, 20, 30, 40])
    found = effect([size * np.exp(-0.1), size * np.exp(0.1)], [size * 1.5, size * 1.5])
    variance = (8 * 0.05**2 + 0.02) / (8 + 2)
    assert found.log_ratio == pytest.approx(np.log(1.5))
    assert (found.n, found.freedom) == (2, 10)
    assert found.spread == pytest.approx(np.sqrt(variance))
    assert found.error == pytest.approx(np.sqrt(variance))


def test_the_spread_of_a_captures_samples_adds_to_that_of_captures() -> None:
    """Four samples of A stray by 0, 10, 20 and 30 % from those of B.

    Less what a sample has in common, the middle two are 0.05 and 0.10 in A and their opposites in
    B; winsorised, each row has the squares 4 × 0.025², over 2 × 1. Times 2 ÷ (2 − 1).
    """
    size = np.array([10.0, 20, 30, 40])
    found = effect([size * np.exp([0, 0.1, 0.2, 0.3])], [size])
    variance = 0.05**2 + 2 * (4 * 0.025**2 / 2)
    assert found.log_ratio == pytest.approx(-0.15)
    assert found.spread == pytest.approx(np.sqrt(variance))
    assert found.error == pytest.approx(np.sqrt(2 * variance))


def test_of_three_captures_centring_takes_a_third_of_the_spread() -> None:
    size = np.array([10.0, 20, 30, 40])
    apart = np.exp([0, 0.1, 0.2, 0.3])
    found = effect([size * apart, size * apart], [size])
    # Centred, the middle two are 0.1/3 and 0.2/3 in both of A and −0.2/3 and −0.4/3 in B.
    noise = np.mean([4 * (0.05 / 3) ** 2 / 2] * 2 + [4 * (0.1 / 3) ** 2 / 2])
    variance = (8 * (0.05**2 + noise * 3 / 2) + 0) / (8 + 1)
    assert found.spread == pytest.approx(np.sqrt(variance))


def test_a_shift_is_an_error_that_captures_do_not_average_out() -> None:
    size = np.array([10.0, 20, 30, 40])
    plain, shifted = (effect([size] * 9, [size] * 9, shift=shift) for shift in (0.0, 0.3))
    assert shifted.error == pytest.approx(np.hypot(plain.error, 0.3))


def test_samples_of_a_capture_are_not_independent_witnesses() -> None:
    """Both captures stray by 5 %; a test of pairs would call 9 of 10 different."""
    rng = np.random.default_rng(1)
    p = [effect(captures(rng, 1, 0.05), captures(rng, 1, 0.05)).p for _ in range(2_000)]
    assert np.mean(np.array(p) < 0.02) <= 0.025


@pytest.mark.parametrize(("drift", "most"), [(0.02, 0.01), (0.05, 0.025), (0.08, 0.08)])
def test_three_a_side_correct_a_prior_that_is_off(drift: float, most: float) -> None:
    rng = np.random.default_rng(2)
    p = [effect(captures(rng, 3, drift), captures(rng, 3, drift)).p for _ in range(1_500)]
    assert np.mean(np.array(p) < 0.02) <= most


def test_a_stalled_sample_says_nothing_of_the_others() -> None:
    a, b = captures(np.random.default_rng(3), 2, 0.0)
    b[0] *= 30
    assert effect([a], [b]).log_ratio == pytest.approx(0, abs=0.02)


def test_too_few_samples_have_no_effect() -> None:
    few = np.array([1.0, 2, 3, np.nan])
    assert capture_effect([few], [few], DRIFT, paired=True) is None
    assert capture_effect([few[:3]], [few[:3]], DRIFT, paired=False) is None


def test_runs_without_a_partner_add_their_own_spread() -> None:
    rng = np.random.default_rng(4)
    a, b = np.exp(rng.normal(3, 0.3, 30)), np.exp(rng.normal(3, 0.3, 20))
    found = capture_effect([a], [b], DRIFT, paired=False)
    assert found is not None
    own = np.log(a).var(ddof=1) / 30 + np.log(b).var(ddof=1) / 20
    assert found.error == pytest.approx(np.sqrt(own + 2 * 0.05**2), rel=0.25)
