"""Warm-up ends when the last runs agree, and says so when they never do."""

from __future__ import annotations

from collections.abc import Callable

from trace_timing.recording.warmup import MOST, is_steady, warm_up


def runs_of(*totals: int) -> Callable[[], int]:
    return iter(totals).__next__


def test_it_stops_at_the_first_three_that_agree() -> None:
    result = warm_up(runs_of(900, 400, 102, 100, 101, 5))
    assert result.totals_ns == (900, 400, 102, 100, 101)
    assert result.steady


def test_it_gives_up_after_the_most_runs_and_says_it_was_not_steady() -> None:
    result = warm_up(runs_of(*[100, 200] * MOST))
    assert len(result.totals_ns) == MOST
    assert not result.steady


def test_five_percent_of_the_median_is_the_edge() -> None:
    assert is_steady([1000, 1000, 1050])
    assert not is_steady([1000, 1000, 1051])
