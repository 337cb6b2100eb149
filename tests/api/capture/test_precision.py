"""Controls go on until the total is known precisely enough, by earlier samples' spread too."""

from __future__ import annotations

import numpy as np
import pytest

from trace_timing.api.capture.precision import Precision, fraction, totals_by_sample
from trace_timing.errors import UsageError
from trace_timing.records.runs import ControlTimes, RunRecord


@pytest.mark.parametrize(
    ("given", "share"),
    [("3%", 0.03), ("0.03", 0.03), (0.03, 0.03), (" 2.5% ", 0.025), (None, None)],
)
def test_a_share_is_read_as_percent_or_number(given: str | float | None, share: float) -> None:
    assert fraction(given) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("given", ["much", "0", "-1%", "100%", 3])
def test_what_is_no_share_is_named(given: str | float) -> None:
    with pytest.raises(UsageError, match=f"precision {given} means nothing"):
        fraction(given)


def series(spread: float, count: int, seed: int) -> list[int]:
    chance = np.random.default_rng(seed)
    return [round(1e6 * (1 + spread * value)) for value in chance.standard_normal(count)]


def test_the_first_sample_knows_no_spread_and_is_never_precise() -> None:
    assert not Precision(0.03)(series(0.001, 20, seed=1))


def test_steady_samples_need_few_controls_and_noisy_ones_more() -> None:
    steady = Precision(0.03, before=[series(0.002, 10, seed) for seed in range(5)])
    noisy = Precision(0.03, before=[series(0.05, 10, seed) for seed in range(5)])
    assert steady(series(0.002, 3, seed=9))
    assert not noisy(series(0.05, 3, seed=9))


def test_each_sample_that_is_done_tells_the_spread_of_the_next() -> None:
    precision = Precision(0.03)
    now = series(0.002, 4, seed=9)
    assert not precision(now)
    precision.add(series(0.002, 10, seed=1))
    assert precision(now)


def test_in_the_end_samples_that_are_not_known_so_well_are_counted() -> None:
    precision = Precision(0.03)
    precision.add(series(0.002, 10, seed=1))
    assert precision.note() is None
    precision.add(series(0.2, 10, seed=2))
    assert "0 of 2 samples have a total known to ± 3 %" in (precision.note() or "")
    steady = Precision(0.03, before=[series(0.002, 10, seed) for seed in range(40)])
    steady.add(series(0.2, 10, seed=41))
    assert "40 of 41 samples" in (steady.note() or "")


def test_totals_are_those_of_hooked_controls_by_sample_and_repeat() -> None:
    def control(sample: str, total: int, *, repeat: int = 0, bare: bool = False) -> RunRecord:
        times = ControlTimes(total_ns=total, bare=bare)
        return RunRecord(sample_id=sample, role="control", repeat=repeat, control=times)

    failed = RunRecord(sample_id="a", role="control", repeat=0, status="failed")
    found = totals_by_sample(
        [
            control("a", 1),
            control("a", 9, bare=True),
            control("b", 3),
            control("a", 2),
            control("b", 4, repeat=1),
            failed,
        ]
    )
    assert found == [[1, 2], [3], [4]]
