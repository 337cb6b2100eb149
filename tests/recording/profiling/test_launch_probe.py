"""Launch costs: least of several loops, in a bounded time, with intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from trace_timing.recording.profiling import launch_probe
from trace_timing.recording.profiling.launch_probe import (
    LAUNCHES,
    LEAST_BLOCKS,
    LOOPS,
    QUICK_NS,
    LaunchProbe,
    ratio_of,
)


class Launches:
    """Launches that take `cost_ns` by a clock of their own, which nothing else moves."""

    def __init__(self, cost_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cost_ns = cost_ns
        self.made = self.waited = self.now_ns = 0
        monkeypatch.setattr(launch_probe, "perf_counter_ns", lambda: self.now_ns)

    def launch(self) -> None:
        self.made += 1
        self.now_ns += self.cost_ns

    def wait(self) -> None:
        self.waited += 1

    def probe(self) -> LaunchProbe:
        return LaunchProbe(self.launch, self.wait)


def test_each_loop_is_waited_for_outside_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(3000, monkeypatch)
    assert launches.probe().quick_ns() == 3000
    assert launches.made == LAUNCHES * launches.waited


def test_the_least_loop_is_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(400, monkeypatch)
    probe = launches.probe()
    probe.quick_ns()  # warms up
    quick = launches.waited + 2

    def cost() -> int:
        return 200 if launches.waited + 1 == quick else 400

    monkeypatch.setattr(Launches, "cost_ns", property(lambda _: cost()), raising=False)
    assert probe.quick_ns() == 200


def test_a_slow_machine_gets_fewer_loops_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(100, monkeypatch)
    probe = launches.probe()
    probe.quick_ns()  # warms up
    launches.cost_ns = QUICK_NS // LAUNCHES // 2 + 1000  # two loops would take longer
    begun = launches.waited
    probe.quick_ns()
    assert launches.waited - begun == 1


def test_blocks_are_taken_until_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(100, monkeypatch)
    costs = launches.probe().blocks(lambda costs: len(costs) >= 3 * LEAST_BLOCKS)
    assert len(costs) == 3 * LEAST_BLOCKS
    assert launches.made == LAUNCHES * LOOPS * (len(costs) + LEAST_BLOCKS)  # and those to warm up


def test_blocks_stop_after_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(100, monkeypatch)
    costs = launches.probe().blocks(lambda costs: False, most_ns=1)
    assert len(costs) == LEAST_BLOCKS


def test_the_interval_of_a_ratio_covers_the_true_one_about_as_often_as_it_says() -> None:
    chance = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        now, then = (
            cost * (1 + 0.05 * chance.exponential(size=60)) for cost in (1.10 * 4000, 4000.0)
        )
        ratio = ratio_of(now, then)
        covered += ratio.low <= 1.10 <= ratio.high
    assert 0.90 <= covered / 200 <= 0.99


def test_noise_that_only_adds_time_hardly_moves_the_ratio() -> None:
    chance = np.random.default_rng(4)
    quiet = 4000 * (1 + 0.01 * chance.random(60))
    disturbed = quiet.copy()
    disturbed[::2] *= 3
    assert ratio_of(disturbed, quiet).median == pytest.approx(1.0, abs=0.02)
