"""Measure what launching an empty kernel costs the host, which shows whether CUPTI is attached.

On an H200 `zero_` of a one-element tensor cost 1.40 times as much while CUPTI was attached as
before or after a detach. Whole runs are a worse sign: their medians drift by 10 % and more on a
shared machine.

What slows the host slows launches too, on a shared machine by 1.4 for many seconds. So the same op
of a CPU tensor, which CUPTI never touches, is timed beside them. Measurements are compared by
launch cost ÷ CPU op cost, and only where the CPU op was about as quick in both: other work on the
core slowed it 1.86 times on an H200's host and launches 1.37 times, and their quotient then looks
with CUPTI as it does without. So each block of launches is made on another core, one where the CPU
op is quick at the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trace_timing.recording.profiling.host_cores import cores_near, from_core_to_core

FloatArray = NDArray[np.float64]

#: Launches timed together before waiting: about 300 µs, far from filling a stream's queue.
LAUNCHES = 100
#: Timed loops of a block, of which the least counts: interrupts and other processes only add time.
LOOPS = 5
#: Time limit of a reading before each run, however slowly the machine launches.
QUICK_NS = 4_000_000
#: Consecutive blocks that an interval's resampling keeps together, about 0.1 s: neighbours on the
#: machine come and go slowly.
STRETCH = 30
#: Blocks whose CPU op took at most so many times as long as a quick one are compared.
ALIKE = 1.15
#: Quantile of the CPU op's costs that stands for a quick one, the lower of two measurements.
QUICK = 0.1
RESAMPLES = 1000
#: Fewest blocks of one measurement, and its time limit.
LEAST_BLOCKS = 3 * STRETCH
MOST_NS = 4_000_000_000
#: Blocks that are not counted, made before the first measurement.
WARM_BLOCKS = 30


@dataclass(frozen=True)
class LaunchCosts:
    """Least costs of blocks of loops, in ns: of an empty launch, and of the op of a CPU tensor."""

    launch: FloatArray
    on_host: FloatArray

    def __len__(self) -> int:
        return len(self.launch)

    @property
    def relative(self) -> FloatArray:
        """Launch ÷ CPU op, by block."""
        relative: FloatArray = self.launch / self.on_host
        return relative

    def median_ns(self) -> float:
        """Median cost of a launch, for people."""
        return float(np.median(self.launch))


@dataclass(frozen=True, kw_only=True)
class LaunchRatio:
    """Launch cost now ÷ that of then, with its 95 % interval."""

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
        on_host: the same op of a CPU tensor.
        cores: cores on which blocks are made in turn, but for those that other work slows at the
            moment; empty for whichever the thread is on.
    """

    def __init__(
        self,
        launch: Callable[[], Any],
        wait: Callable[[], Any],
        on_host: Callable[[], Any],
        cores: Sequence[int] = (),
    ) -> None:
        self._launch = launch
        self._wait = wait
        self._on_host = on_host
        self._cores = list(cores)
        self._quickest = float("inf")
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
        self, until: Callable[[LaunchCosts], bool] = lambda costs: True, *, most_ns: int = MOST_NS
    ) -> LaunchCosts:
        """Costs of blocks of `LOOPS` loops.

        Args:
            until: called every `LEAST_BLOCKS` blocks; true ends the measurement.
            most_ns: time limit.
        """
        self._warm()  # may start threads of the driver, which must not stay on one core
        begin = perf_counter_ns()
        costs: list[tuple[float, float]] = []
        with from_core_to_core(self._cores) as move:
            while True:
                for _ in range(LEAST_BLOCKS):
                    self._find_quick_core(move)
                    costs.append(self._block())
                so_far = LaunchCosts(*np.array(costs).T)
                if perf_counter_ns() - begin >= most_ns or until(so_far):
                    return so_far

    def _block(self) -> tuple[float, float]:
        launch, on_host = zip(
            *((self._loop(), self._host_loop()) for _ in range(LOOPS)), strict=True
        )
        return min(launch), min(on_host)

    def _find_quick_core(self, move: Callable[[], None]) -> None:
        """Move on until the CPU op is about as quick as it ever was, at most once around."""
        for _ in self._cores:
            move()
            cost = min(self._host_loop() for _ in range(2))  # the first fills the core's caches
            self._quickest = min(self._quickest, cost)
            if cost <= ALIKE * self._quickest:
                return

    def _loop(self) -> float:
        """Mean cost of a launch over one loop, in ns."""
        cost = _mean_cost(self._launch)
        self._wait()
        return cost

    def _host_loop(self) -> float:
        return _mean_cost(self._on_host)

    def _warm(self) -> None:
        # The first launches load the kernel, and clocks ramp up slowly.
        if not self._is_warm:
            self._is_warm = True
            for _ in range(WARM_BLOCKS):
                self._block()


def _mean_cost(call: Callable[[], Any]) -> float:
    begin = perf_counter_ns()
    for _ in range(LAUNCHES):
        call()
    return (perf_counter_ns() - begin) / LAUNCHES


def probe_of(device: Any) -> LaunchProbe:
    """A probe of a CUDA device."""
    import torch

    element, on_host = torch.zeros(1, device=device), torch.zeros(1, device="cpu")
    return LaunchProbe(
        element.zero_,
        lambda: torch.cuda.synchronize(device),
        on_host.zero_,
        cores_near(device),
    )


def ratio_of(now: LaunchCosts, then: LaunchCosts) -> LaunchRatio | None:
    """Ratio of the median relative costs, with a bootstrap interval over stretches of blocks.

    Only blocks in which the CPU op was about as quick as it ever was in either measurement count.
    None where one of them has fewer than `LEAST_BLOCKS` of these.
    """
    most = ALIKE * min(np.quantile(costs.on_host, QUICK) for costs in (now, then))
    now_quick, then_quick = (costs.relative[costs.on_host <= most] for costs in (now, then))
    if min(len(now_quick), len(then_quick)) < LEAST_BLOCKS:
        return None
    chance = np.random.default_rng(0)
    ratios = _resampled_medians(now_quick, chance) / _resampled_medians(then_quick, chance)
    low, high = np.quantile(ratios, [0.025, 0.975])
    middle = np.median(now_quick) / np.median(then_quick)
    return LaunchRatio(median=float(middle), low=float(low), high=float(high))


def _resampled_medians(costs: FloatArray, chance: np.random.Generator) -> FloatArray:
    stretches = costs[: len(costs) // STRETCH * STRETCH].reshape(-1, STRETCH)
    drawn = chance.integers(0, len(stretches), size=(RESAMPLES, len(stretches)))
    medians: FloatArray = np.median(stretches[drawn].reshape(RESAMPLES, -1), axis=1)
    return medians
