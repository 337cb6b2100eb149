"""Measure how often a detach is shown where there was one, and where there was none.

    python benchmarks/launch_comparison.py --seconds 150 --load     # no GPU: a system call each

Records launch costs of a process that never profiles, then draws stretches of them: as before the
first session, after it (× `ATTACHED`), and after a detach: × 1 for one that worked, more for one
that left something. Prints by that factor in how many draws `CuptiAttachment` calls it detached.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch

from trace_timing.recording.profiling.detach import CuptiAttachment
from trace_timing.recording.profiling.launch_probe import (
    LEAST_BLOCKS,
    MOST_NS,
    LaunchCosts,
    LaunchProbe,
    probe_of,
)

ATTACHED = 1.4
FACTORS = (1.0, 1.05, 1.1, ATTACHED)
#: Mean seconds for which other work is on, and off.
LOAD_S = 6.0
#: As many as `MOST_NS` leaves time for on a GPU.
MOST_BLOCKS = 990
LOAD = "import numpy as np\na = np.ones((600, 600))\nwhile True: a @ a"


def main() -> None:
    """Record, draw, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--load", action="store_true", help="Other work of one core, on and off.")
    parser.add_argument("--draws", type=int, default=100, help="Of each factor, 0.3 s each.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    costs = recorded(options.seconds, options.load)
    chance = np.random.default_rng(0)
    draws = range(options.draws)
    shown = {factor: [is_shown(costs, factor, chance) for _ in draws] for factor in FACTORS}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu, a system call"
    told = {
        "date": date.today().isoformat(),
        "device": device,
        "blocks": len(costs),
        "launch_ns": [round(v) for v in np.quantile(costs.launch, (0.05, 0.5, 0.95))],
        "cpu_op_ns": [round(v) for v in np.quantile(costs.on_host, (0.05, 0.5, 0.95))],
        "called_detached": {factor: float(np.mean(each)) for factor, each in shown.items()},
    }
    print(json.dumps(told))


def recorded(seconds: float, load: bool) -> LaunchCosts:
    """Costs of consecutive blocks."""
    if torch.cuda.is_available():
        probe = probe_of(torch.device("cuda"))
    else:
        element = torch.zeros(1)
        cores = sorted(os.sched_getaffinity(0))
        probe = LaunchProbe(Path("/").stat, lambda: None, element.zero_, cores)
    other = OtherWork()
    end = time.monotonic() + seconds

    def is_over(costs: LaunchCosts) -> bool:
        if load:
            other.change()
        return time.monotonic() >= end

    costs = probe.blocks(is_over, most_ns=int(2 * seconds * 1e9))
    other.end()
    return costs


class OtherWork:
    """A process that computes, for some seconds at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._until = 0.0
        self._chance = np.random.default_rng(0)

    def change(self) -> None:
        """Start or end it, if it is time."""
        if time.monotonic() < self._until:
            return
        if self._process is None:
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen([sys.executable, "-c", LOAD], env=one_thread)
        else:
            self.end()
        self._until = time.monotonic() + self._chance.exponential(LOAD_S)

    def end(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Replayed:
    """A probe whose measurements are stretches of recorded costs, from a random moment on."""

    def __init__(self, costs: LaunchCosts, chance: np.random.Generator) -> None:
        self._costs = costs
        self._chance = chance
        #: Multiplies the costs of launches.
        self.factor = 1.0

    def blocks(
        self, until: Callable[[LaunchCosts], bool] = lambda costs: True, *, most_ns: int = MOST_NS
    ) -> LaunchCosts:
        """As many blocks as the real one would make."""
        begin = int(self._chance.integers(0, len(self._costs) - MOST_BLOCKS))
        number = 0
        while True:
            number += LEAST_BLOCKS
            part = slice(begin, begin + number)
            found = LaunchCosts(self._costs.launch[part] * self.factor, self._costs.on_host[part])
            if number >= MOST_BLOCKS or until(found):
                return found


def is_shown(costs: LaunchCosts, factor: float, chance: np.random.Generator) -> bool:
    """Whether the first detach is called one, where it leaves launches `factor` times as dear."""
    probe = Replayed(costs, chance)
    attachment = CuptiAttachment(probe, finalize=lambda: 0)  # type: ignore[arg-type]
    attachment.before_session()
    probe.factor = ATTACHED
    attachment.after_session()
    probe.factor = factor
    attachment.detach()
    return bool(attachment.works)


if __name__ == "__main__":
    main()
