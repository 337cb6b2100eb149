"""False alarm rate and power of `compare`, on recordings of servers made from real steps.

A recording is a stretch of real decode steps, one after the other, in three batch sizes; the GPU's
work in each strays as it does from step to step in the sample traces. A stretch is brought to its
own undisturbed level, then drift is planted: the level strays, and a part of the recording takes 10
to 45 % longer. How far two recordings of one thing then differ is printed first. Processes that
never profiled moved by 1 to 5 %, at worst 14 %, in their tenth percentile, and by 10 to 45 % in
their medians.

    python -m benchmarks.step_compare_power             # 200 draws, three recordings a side
    python -m benchmarks.step_compare_power --draws 20
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from benchmarks.compare_power import SERIES
from benchmarks.read import SAMPLES
from trace_timing.arrays import FloatArray
from trace_timing.stats.comparison.compare import ComparisonResult
from trace_timing.stats.comparison.compare_steps import compare_steps
from trace_timing.stats.comparison.step_cells import StepTables
from trace_timing.stats.methods.envelope import undisturbed

STEPS = 320
RECORDINGS = 3
#: Batch sizes of a recording, and how much longer than the first their forwards take.
BATCHES, LONGER = (8, 16, 32), (1.0, 1.1, 1.3)
#: Of the undisturbed step, the share that the device works, as of the recorded 1B model.
BUSY = 0.2
#: A recording's level strays by a draw of this, and one in fifty is slower by so much more.
DRIFT, WORST, WORST_SHARE = 0.02, 0.14, 0.02
#: A part of a recording that is disturbed: its share of it at most, and how much longer steps take.
PART, PART_LONGER = 0.6, (0.10, 0.45)
#: The device's clock.
BUSY_DRIFT = 0.003
LATENCY_CHANGE, BUSY_CHANGE = 1.10, 1.03
LATENCY_ROWS = ("undisturbed decode", "decode", "time per token")


@dataclass(frozen=True)
class Rates:
    """Shares of draws: any false alarm; the change found in latency, in busy time, in both."""

    alarms: float
    latency: float
    busy: float
    both: float


@cache
def series() -> tuple[FloatArray, ...]:
    """Decode steps in ns, in the order they were timed, of each series long enough."""
    told = [json.loads(path.read_text()) for path in sorted(SERIES.glob("*.json"))]
    steps = [np.array(one["steps"], np.float64).ravel() for one in told]
    return tuple(each for each in steps if len(each) >= STEPS)


@cache
def busy_strays() -> FloatArray:
    """Busy time of recorded decode steps ÷ the median of their run, of the sample traces."""
    from trace_timing import analyze

    steps = analyze(SAMPLES.parent).steps
    known = steps[(steps["stage"] == "decode") & steps["recorded"]].dropna(subset=["busy_ns"])
    busy = known["busy_ns"].astype(float)
    return np.asarray(busy / busy.groupby(known["sample_id"]).transform("median"), np.float64)


def recording(
    rng: np.random.Generator, latency: float, busy: float, drift: float = DRIFT
) -> StepTables:
    """One recording of STEPS forwards of decode, its level drawn, then changed by these factors."""
    real = series()[rng.integers(len(series()))]
    at = int(rng.integers(len(real) - STEPS + 1))
    stretch = real[at : at + STEPS]
    strays = rng.normal(0, drift) + (WORST if rng.random() < WORST_SHARE else 0.0)
    level = 10e6 / (undisturbed(stretch) or 1.0) * np.exp(strays)
    batch = rng.integers(len(BATCHES), size=STEPS)
    longer = np.array(LONGER)[batch]
    device = BUSY * 10e6 * np.exp(rng.normal(0, BUSY_DRIFT)) * rng.choice(busy_strays(), STEPS)
    window = stretch * level * _disturbed(rng) * longer * latency
    return StepTables(
        "simulated", _steps(np.array(BATCHES)[batch], window, device * longer * busy), _no_kernels()
    )


def _disturbed(rng: np.random.Generator) -> FloatArray:
    """How much longer each step takes: the same in one part of the recording, 1 elsewhere."""
    length = int(rng.uniform(0, PART) * STEPS)
    at = int(rng.integers(STEPS - length + 1))
    factors = np.ones(STEPS)
    factors[at : at + length] += rng.uniform(*PART_LONGER)
    return factors


def _steps(batch: FloatArray, window: FloatArray, busy: FloatArray) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "sample_id": "served",
            "repeat": 0,
            "rank": 0,
            "stage": "decode",
            "step": np.arange(len(batch)),
            "recorded": True,
            "clock": "device",
        }
    )
    numbers = {
        "batch_size": batch,
        "context_requests": 0,
        "context_tokens": 0,
        "generation_requests": batch,
        "generation_tokens": batch,
        "window_ns": np.rint(window),
        "busy_ns": np.rint(busy),
        "interval_ns": np.rint(window),
    }
    for name, values in numbers.items():
        table[name] = pd.array(np.broadcast_to(values, len(batch)).astype(np.int64), "Int64")
    return table


def _no_kernels() -> pd.DataFrame:
    return pd.DataFrame({"stage": [], "name": []})


def trial(
    rng: np.random.Generator,
    *,
    latency: float = 1.0,
    busy: float = 1.0,
    recordings: int = RECORDINGS,
    drift: float = DRIFT,
) -> ComparisonResult:
    """One comparison; B is changed by these factors."""
    (a, *also_a), (b, *also_b) = (
        [recording(rng, *factors, drift) for _ in range(recordings)]
        for factors in ((1.0, 1.0), (latency, busy))
    )
    return compare_steps(a, b, also_a=also_a, also_b=also_b)


def rates(draws: int, seed: int, *, recordings: int = RECORDINGS, drift: float = DRIFT) -> Rates:
    """Rates over seeded draws."""
    rng = np.random.default_rng(seed)
    more = {"recordings": recordings, "drift": drift}
    same = [trial(rng, **more) for _ in range(draws)]
    slower = [trial(rng, latency=LATENCY_CHANGE, busy=BUSY_CHANGE, **more) for _ in range(draws)]
    latency = [_is_slower(result, LATENCY_ROWS) for result in slower]
    busy = [_is_slower(result, ("busy decode",)) for result in slower]
    return Rates(
        alarms=float(np.mean([any(_changed(row.verdict) for row in r.rows) for r in same])),
        latency=float(np.mean(latency)),
        busy=float(np.mean(busy)),
        both=float(np.mean(np.logical_and(latency, busy))),
    )


def _changed(verdict: str) -> bool:
    return verdict.startswith(("slower", "faster"))


def _is_slower(result: ComparisonResult, names: Sequence[str]) -> bool:
    return any(row.verdict.startswith("slower") for row in result.rows if row.name in names)


def apart(draws: int, seed: int) -> dict[str, list[float]]:
    """How far two recordings differ in one batch size: quartiles and 95th percentile of pairs."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"tenth percentiles": [], "medians": []}
    for _ in range(draws):
        pair = [_of_first_batch(recording(rng, 1.0, 1.0)) for _ in range(2)]
        for name, share in zip(found, (0.1, 0.5), strict=True):
            one, other = (float(np.quantile(steps, share)) for steps in pair)
            found[name].append(abs(np.log(one / other)))
    return {
        name: np.quantile(each, (0.25, 0.5, 0.75, 0.95)).tolist() for name, each in found.items()
    }


def _of_first_batch(tables: StepTables) -> FloatArray:
    steps = tables.steps
    first = steps["batch_size"] == BATCHES[0]
    return np.asarray(steps.loc[first, "window_ns"], np.float64)


def main() -> None:
    """Print a line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    for name, quartiles in apart(options.draws, options.seed).items():
        told = ", ".join(f"{each:.1%}" for each in quartiles)
        print(
            f"{name} of two recordings of one thing differ by {told} (quartiles and 95th of pairs)"
        )
    print("alarms  latency found  busy found  both")
    # The last: as far as the undisturbed steps of six idle processes strayed.
    for recordings, drift in ((3, DRIFT), (2, DRIFT), (1, DRIFT), (3, 0.054)):
        r = rates(options.draws, options.seed, recordings=recordings, drift=drift)
        print(
            f"{r.alarms:.3f}  {r.latency:.3f}  {r.busy:.3f}  {r.both:.3f}  "
            f"{recordings} a side, level strays by {drift:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
