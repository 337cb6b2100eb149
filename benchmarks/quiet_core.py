"""Keep processes on the one core that other work of the machine disturbs least at the moment.

    python benchmarks/quiet_core.py            # of a fixed loop and of launches, by core

On a machine shared with others the same Python loop takes twice as long on one core as on another,
and a core changes from one to the other within seconds. Processes that are compared with each
other should therefore take turns on the same core.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

#: How long a core is watched, and how much slower than the quickest loops seen it may be.
SECONDS, SLOWER = 0.02, 1.08


class QuietCore:
    """The core that some processes share, changed when other work slows it."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = list(pids)
        self._any = os.sched_getaffinity(0)
        self._best = float("inf")
        #: How often the processes were moved.
        self.moves = 0

    def settle(self) -> float:
        """Stay where loops are as quick as any seen; else move to the quickest core now.

        Returns:
            How long the fixed loop takes there, in ms.
        """
        if len(os.sched_getaffinity(0)) == 1 and (here := self.now()) <= SLOWER * self._best:
            return here
        core, here = quietest(self._any)
        self._best = min(self._best, here)
        self.moves += 1
        keep_on({core}, self._pids)
        return here

    @staticmethod
    def now() -> float:
        """How long the fixed loop takes at the moment, in ms."""
        return slow(loops(SECONDS))


def keep_on(cores: Iterable[int], pids: Iterable[int]) -> None:
    """Let every thread of these processes run on these cores alone."""
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # what ended meanwhile
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cores)


def quietest(cores: Iterable[int]) -> tuple[int, float]:
    """The core that other work disturbs least now, and how long the fixed loop takes there."""
    found = {core: slow(times) for core, times in by_core(cores, SECONDS).items()}
    core = min(found, key=found.__getitem__)
    return core, found[core]


def by_core(cores: Iterable[int], seconds: float) -> dict[int, np.ndarray]:
    """Times of a fixed loop in ms on each core, one core after the other."""
    found = {}
    for core in sorted(cores):
        os.sched_setaffinity(0, {core})
        found[core] = loops(seconds)
    return found


def loops(seconds: float) -> np.ndarray:
    """Times of a fixed loop in ms on whichever core this thread runs on."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter_ns()
        total = 0
        for number in range(20_000):
            total += number
        times.append((time.perf_counter_ns() - begun) / 1e6)
    return np.array(times)


def slow(times: np.ndarray) -> float:
    """Nine in ten loops take at most so long."""
    return float(np.quantile(times, 0.9))


def launches_by_core(cores: Iterable[int]) -> dict[int, tuple[float, float]]:
    """Median cost in ns of an empty launch and of the same op of a CPU tensor, by core."""
    import torch

    from trace_timing.recording.profiling.launch_probe import probe_of

    found = {}
    for core in sorted(cores):
        os.sched_setaffinity(0, {core})
        costs = probe_of(torch.device("cuda")).blocks()  # one a core: it keeps to those it may use
        found[core] = costs.median_ns(), float(np.median(costs.on_host))
    return found


def main() -> None:
    """Print one JSON object a core, and all once more, twice: what stays the same is the core's."""
    import torch

    any_core = os.sched_getaffinity(0)
    for _ in range(3):
        launches = launches_by_core(any_core) if torch.cuda.is_available() else {}
        for core, times in by_core(any_core, 0.2).items():
            told = {"core": core, "ms": float(np.median(times)), "p90": slow(times)}
            if core in launches:
                told["launch_ns"], told["cpu_op_ns"] = launches[core]
            print(json.dumps({name: round(value, 3) for name, value in told.items()}))


if __name__ == "__main__":
    main()
