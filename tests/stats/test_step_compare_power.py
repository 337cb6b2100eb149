"""Whether comparing servers' recordings cries wolf and hears; 200 draws are the benchmark's."""

from __future__ import annotations

import pytest

from benchmarks.step_compare_power import Rates, apart, rates

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> Rates:
    return rates(30, seed=7)


def test_recordings_of_the_same_thing_raise_no_alarm(found: Rates) -> None:
    assert found.alarms == 0


def test_three_a_side_hear_10_percent_of_latency_and_3_of_busy_time(found: Rates) -> None:
    assert found.busy == 1
    assert found.latency >= 0.7


def test_recordings_differ_as_much_as_processes_did() -> None:
    """Tenth percentiles by 1 to 5 %, medians by more."""
    far = apart(60, seed=7)
    low, middle, high, _ = far["tenth percentiles"]
    assert 0.005 < low < middle < high < 0.06
    assert far["medians"][1] > 2 * middle
