"""Whether `compare` cries wolf, and whether it hears: captures cut from recorded series."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.compare_power import Rates, Setting, rates, read_stretches

pytestmark = pytest.mark.slow

TRIALS = 15


@pytest.fixture(scope="module")
def found() -> list[Rates]:
    """Three captures a side of 60 controls each, six processes; with drift planted too."""
    long = read_stretches(60)
    idle = [s for k in (1, 3, 5) for s in long[f"llava-1b-{k}"]]
    loaded = [s for k in (2, 4, 6) for s in long[f"llava-1b-{k}-loaded"]]
    both = [*idle, *loaded]
    return [
        rates(Setting("dealt", both, both, 3), TRIALS, seed=1),
        rates(Setting("idle against loaded", idle, loaded, 3), TRIALS, seed=2),
        rates(Setting("drift planted", both, both, 3, planted=True), 2 * TRIALS, seed=3),
    ]


def test_captures_of_the_same_thing_raise_no_alarm(found: list[Rates]) -> None:
    """Idle and loaded; 2 % at most are promised, none of 60 occurred."""
    assert [r.alarms for r in found] == [0, 0, 0]


def test_single_captures_raise_none_either() -> None:
    pools = read_stretches(30)
    idle, loaded = pools["llava-1b-3"], pools["llava-1b-6-loaded"]
    for a, b in ((idle, loaded), (idle, idle), (pools["llava-olmoe"],) * 2):
        assert rates(Setting("", a, b, 1, planted=True), TRIALS, seed=4).alarms == 0


def test_three_captures_a_side_hear_10_percent_of_every_step(found: list[Rates]) -> None:
    assert np.mean([r.found for r in found]) >= 0.8
    assert min(r.found for r in found) >= 0.75
    assert max(r.withheld for r in found) <= 0.2


def test_it_is_the_undisturbed_step_that_hears(found: list[Rates]) -> None:
    """Latencies of these hosts spread by 20 % from capture to capture."""
    assert [r.found_undisturbed for r in found] == [r.found for r in found]
