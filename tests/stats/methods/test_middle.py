"""Medians of few values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_timing.stats.methods.middle import median


@pytest.mark.parametrize(
    ("values", "middle"), [([7.0], 7.0), ([3.0, 1.0], 2.0), ([5.0, 1.0, 2.0], 2.0)]
)
def test_median_of_few_values(values: list[float], middle: float) -> None:
    assert median(np.array(values)) == middle


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40))
def test_median_is_numpys_to_the_last_digit(values: list[float]) -> None:
    assert median(np.array(values)) == float(np.median(np.array(values)))
