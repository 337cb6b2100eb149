"""Student's t quantiles against scipy's."""

from __future__ import annotations

import pytest
from scipy import special

from trace_timing.stats.methods.student import student_quantile

PROBABILITIES = (0.51, 0.6, 0.9, 0.975, 0.995, 0.999_999)


@pytest.mark.parametrize("probability", PROBABILITIES)
def test_equals_scipys(probability: float) -> None:
    for freedom in (*range(1, 60), 99, 100, 399, 400, 2_000):
        ours, theirs = student_quantile(freedom, probability), special.stdtrit(freedom, probability)
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 30, 401])
def test_inverts_the_distribution_function(freedom: int) -> None:
    t = student_quantile(freedom, 0.975)
    assert special.stdtr(freedom, t) == pytest.approx(0.975, rel=1e-13)


@pytest.mark.parametrize(("freedom", "probability"), [(0, 0.975), (3, 0.5), (3, 1.0)])
def test_refuses_what_has_no_quantile(freedom: int, probability: float) -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        student_quantile(freedom, probability)
