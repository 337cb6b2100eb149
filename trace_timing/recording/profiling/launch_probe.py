"""Measure what launching an empty kernel costs the host, which shows whether CUPTI is attached.

On an H200 `zero_` of a one-element tensor cost 1.40 times as much while CUPTI was attached as
before or after a detach. Whole runs are a worse sign: their medians drift by 10 % and more on a
shared machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Launches timed together before waiting: about 300 µs, far from filling a stream's queue.
LAUNCHES = 100
#: Timed loops of a block, of which the least counts: interrupts and other processes only add time.
LOOPS = 5
#: Time limit of a reading before each run, however slowly the machine launches.
QUICK_NS = 4_000_000
#: Quantile of the blocks' least costs that is compared. A low one: on an H100 a process that had
#: never profiled launched 1.38 times as slowly for most of 0.4 s, as if attached. Over such
#: stretches the 5 % quantile varied by 2 %, the 25 % quantile by 13 %.
QUANTILE = 0.05
RESAMPLES = 1000
#: Fewest blocks of one measurement, and its time limit.
LEAST_BLOCKS = 30
MOST_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class LaunchRatio:
    """Launch cost now ÷ launch cost then, with its 95 % interval."""

    median: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """For the manifest."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


class LaunchProbe:
    """Measures the cost of empty launches.

    Args:
        launch: launches an empty kernel and returns.
        wait: returns when the device has done them.
    """

    def __init__(self, launch: Callable[[], Any], wait: Callable[[], Any]) -> None:
        self._launch = launch
        self._wait = wait
        self._is_warm = False

    def quick_ns(self) -> float:
        """Least cost of a launch over `LOOPS` loops, in ns; all but the first take at most 5 ms."""
        self._warm()
        begin = perf_counter_ns()
        costs = [self._loop()]
        for made in range(1, LOOPS):
            taken = perf_counter_ns() - begin
            if taken * (made + 1) / made > QUICK_NS:
                break
            costs.append(self._loop())
        return min(costs)

    def blocks(
        self, until: Callable[[FloatArray], bool] = lambda costs: True, *, most_ns: int = MOST_NS
    ) -> FloatArray:
        """Least costs of blocks of `LOOPS` loops, in ns a launch.

        Args:
            until: called every `LEAST_BLOCKS` blocks; true ends the measurement.
            most_ns: time limit.
        """
        self._warm()
        begin = perf_counter_ns()
        costs: list[float] = []
        while True:
            costs += [self._block() for _ in range(LEAST_BLOCKS)]
            so_far = np.array(costs)
            if perf_counter_ns() - begin >= most_ns or until(so_far):
                return so_far

    def _block(self) -> float:
        return min(self._loop() for _ in range(LOOPS))

    def _loop(self) -> float:
        """Mean cost of a launch over one loop, in ns."""
        launch = self._launch
        begin = perf_counter_ns()
        for _ in range(LAUNCHES):
            launch()
        cost = (perf_counter_ns() - begin) / LAUNCHES
        self._wait()
        return cost

    def _warm(self) -> None:
        # The first launches load the kernel, and clocks ramp up slowly.
        if not self._is_warm:
            self._is_warm = True
            for _ in range(LEAST_BLOCKS):
                self._block()


def probe_of(device: Any) -> LaunchProbe:
    """A probe of a CUDA device."""
    import torch

    element = torch.zeros(1, device=device)
    return LaunchProbe(element.zero_, lambda: torch.cuda.synchronize(device))


def ratio_of(now: FloatArray, then: FloatArray) -> LaunchRatio:
    """Ratio of the `QUANTILE`s of two measurements' blocks, with a bootstrap interval over blocks.

    Args:
        now, then: results of `LaunchProbe.blocks`.
    """
    chance = np.random.default_rng(0)
    ratios = _resampled(now, chance) / _resampled(then, chance)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return LaunchRatio(
        median=float(np.quantile(now, QUANTILE) / np.quantile(then, QUANTILE)),
        low=float(low),
        high=float(high),
    )


def _resampled(costs: FloatArray, chance: np.random.Generator) -> FloatArray:
    drawn = chance.integers(0, len(costs), size=(RESAMPLES, len(costs)))
    quantiles: FloatArray = np.quantile(costs[drawn], QUANTILE, axis=1)
    return quantiles
