"""Launch costs: least of several loops, on quick cores, in a bounded time, with true intervals."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest

from trace_timing.recording.profiling import launch_probe
from trace_timing.recording.profiling.launch_probe import (
    LAUNCHES,
    LEAST_BLOCKS,
    LOOPS,
    QUICK_NS,
    STRETCH,
    WARM_BLOCKS,
    LaunchCosts,
    LaunchProbe,
    ratio_of,
)

ON_HOST_NS = 50


class Launches:
    """Launches that take `cost_ns`, and CPU ops that take `ON_HOST_NS`, by a clock of their own."""

    def __init__(self, cost_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cost_ns = cost_ns
        self.made = self.waited = self.now_ns = 0
        monkeypatch.setattr(launch_probe, "perf_counter_ns", lambda: self.now_ns)

    def launch(self) -> None:
        self.made += 1
        self.now_ns += self.cost_ns

    def wait(self) -> None:
        self.waited += 1

    def on_host(self) -> None:
        self.now_ns += ON_HOST_NS

    def probe(self, cores: Sequence[int] = ()) -> LaunchProbe:
        return LaunchProbe(self.launch, self.wait, self.on_host, cores)


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
    assert launches.made == LAUNCHES * LOOPS * (len(costs) + WARM_BLOCKS)


def test_blocks_stop_after_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(100, monkeypatch)
    costs = launches.probe().blocks(lambda costs: False, most_ns=1)
    assert len(costs) == LEAST_BLOCKS


def test_a_block_holds_the_costs_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Launches(100, monkeypatch).probe().blocks()
    assert set(costs.launch) == {100.0}
    assert set(costs.on_host) == {float(ON_HOST_NS)}
    assert set(costs.relative) == {2.0}
    assert costs.median_ns() == 100.0


class Cores:
    """Cores of which some are slowed by other work: CPU ops take twice as long on them."""

    def __init__(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all = frozenset(range(number))
        self.slowed: frozenset[int] = frozenset()
        self.here: frozenset[int] = self.all
        self.launched_on: list[int] = []
        self.launches = Launches(100, monkeypatch)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: self.here, raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", self._move, raising=False)

    def _move(self, _: int, cores: frozenset[int]) -> None:
        self.here = frozenset(cores)

    def launch(self) -> None:
        self.launches.launch()
        self.launched_on += self.here if len(self.here) == 1 else ()

    def on_host(self) -> None:
        self.launches.on_host()
        if self.here <= self.slowed:
            self.launches.on_host()

    def probe(self) -> LaunchProbe:
        return LaunchProbe(self.launch, self.launches.wait, self.on_host, sorted(self.all))


def test_blocks_are_made_on_one_core_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores(4, monkeypatch)
    cores.probe().blocks()
    assert cores.launched_on[:: LAUNCHES * LOOPS][:6] == [0, 1, 2, 3, 0, 1]
    assert cores.here == cores.all  # as before


def test_cores_that_other_work_slows_at_the_moment_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = Cores(4, monkeypatch)
    probe = cores.probe()
    probe.blocks()
    cores.slowed, cores.launched_on = frozenset({0, 1, 3}), []
    costs = probe.blocks()
    assert set(cores.launched_on) == {2}
    assert set(costs.on_host) == {float(ON_HOST_NS)}


def test_where_every_core_is_slow_blocks_are_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = Cores(3, monkeypatch)
    probe = cores.probe()
    probe.blocks()
    cores.slowed = cores.all
    costs = probe.blocks()
    assert len(costs) == LEAST_BLOCKS
    assert set(costs.on_host) == {2.0 * ON_HOST_NS}


def stretches(chance: np.random.Generator, launch_ns: float, number: int = 30) -> LaunchCosts:
    """Costs on a machine whose other work slows launches and CPU ops alike, for 0.1 s at a time."""
    slower = np.repeat(1 + 0.4 * (chance.random(number) < 0.3), STRETCH)
    noise = 1 + 0.05 * chance.exponential(size=(2, number * STRETCH))
    drift = np.repeat(1 + 0.01 * chance.normal(size=number), STRETCH)
    return LaunchCosts(launch_ns * drift * slower * noise[0], 400 * slower * noise[1])


def test_the_interval_of_a_ratio_covers_the_true_one_about_as_often_as_it_says() -> None:
    chance = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        ratio = ratio_of(stretches(chance, 1.10 * 4000), stretches(chance, 4000))
        covered += ratio is not None and ratio.low <= 1.10 <= ratio.high
    assert 0.90 <= covered / 200 <= 0.99


def test_blocks_in_which_other_work_slowed_cpu_ops_are_not_compared() -> None:
    chance = np.random.default_rng(5)
    quiet = stretches(chance, 4000)
    disturbed = np.repeat([1.0, 1.4], len(quiet) // 2)
    half = LaunchCosts(1.1 * quiet.launch, disturbed * quiet.on_host)
    ratio = ratio_of(half, quiet)
    assert ratio is not None
    assert ratio.median == pytest.approx(1.1, rel=0.01)


def test_nothing_is_told_where_other_work_never_let_cpu_ops_be_quick() -> None:
    chance = np.random.default_rng(5)
    quiet = stretches(chance, 4000)
    slowed = LaunchCosts(1.4 * quiet.launch, 1.4 * quiet.on_host)
    assert ratio_of(slowed, quiet) is None
    assert ratio_of(quiet, slowed) is None


def test_what_slows_the_whole_host_a_little_does_not_move_the_ratio() -> None:
    chance = np.random.default_rng(4)
    quiet = stretches(chance, 4000)
    slow = ratio_of(LaunchCosts(1.05 * quiet.launch, 1.05 * quiet.on_host), quiet)
    dear = ratio_of(LaunchCosts(1.4 * quiet.launch, quiet.on_host), quiet)
    assert slow is not None
    assert slow.median == pytest.approx(1.0, abs=0.01)
    assert dear is not None
    assert dear.median > 1.39
