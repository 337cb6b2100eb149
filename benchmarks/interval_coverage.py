"""Measure how often the 95 % intervals of controls cover the long-run value, on recorded series.

Every stretch of K consecutive runs of a series stands for the controls of one sample; the pooled
spread comes from other stretches of it, dealt as `capture` deals controls (2 a sample, 5 of every
tenth). Counted is how often the interval holds the estimator's value over the whole series. A
series of n runs is used up to K = n/7, and all series weigh the same.

    python -m benchmarks.interval_coverage              # by count, by series, and the sequential
    python -m benchmarks.interval_coverage --calibrate  # 95 % quantiles that the table is read from
    python -m benchmarks.interval_coverage --leave-out  # table of all series but one, on that one
    python -m benchmarks.interval_coverage --later      # series that the table was not read from
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trace_timing.arrays import FloatArray
from trace_timing.stats.methods import control_mean
from trace_timing.stats.methods.control_mean import PooledSpread

SERIES = Path(__file__).resolve().parents[1] / "tests" / "data" / "control_series"
#: Recorded after the table was read from the others, on two other hosts.
LATER = SERIES.with_name("control_series_later")
COUNTS = tuple(range(1, 31))
#: A stretch is at most this share of its series.
LONGEST = 1 / 7
SAMPLES = 30
CAPTURES = 20
MOST = 30
PRECISIONS = (0.03, 0.05, 0.07, 0.1, 0.15)


@dataclass(frozen=True)
class Series:
    """Consecutive controls of one input and process: columns (n, S) in ns, the last the total."""

    name: str
    columns: FloatArray

    @property
    def truth(self) -> FloatArray:
        """The estimator over the whole series, (S,)."""
        return control_mean.mean(self.columns, self.columns[:, -1])

    def stretches(self, count: int) -> FloatArray:
        """Every `count` consecutive runs: (n − count + 1, count, S)."""
        starts = np.arange(len(self.columns) - count + 1)
        return self.columns[starts[:, None] + np.arange(count)]

    def pooled(self, rng: np.random.Generator, samples: int = SAMPLES) -> PooledSpread:
        """Pooled spread of a capture of so many samples."""
        counts = [5 if i % 10 == 9 else 2 for i in range(samples)]
        starts = [int(rng.integers(len(self.columns) - k + 1)) for k in counts]
        rows = [self.columns[at : at + k] for at, k in zip(starts, counts, strict=True)]
        found = control_mean.pooled_spread((r, r[:, -1]) for r in rows)
        assert found is not None
        return found


def read_series(folder: Path = SERIES) -> list[Series]:
    """The recorded series: stages that took any time, and the total."""
    found = []
    for path in sorted(folder.glob("*.json")):
        stages = np.array(json.loads(path.read_text())["runs"], np.float64)
        stages = stages[:, stages.min(axis=0) > 0]
        columns = np.column_stack([stages, stages.sum(axis=1)])
        found.append(Series(path.stem, columns))
    return found


def usable(series: Iterable[Series], count: int) -> list[Series]:
    """The series that are long enough for stretches of so many runs."""
    return [one for one in series if count <= len(one.columns) * LONGEST]


def covered(series: Series, count: int, rng: np.random.Generator, captures: int) -> FloatArray:
    """Share of stretches whose interval holds the truth, by column (S,)."""
    runs, truth = series.stretches(count), series.truth
    shares = []
    for _ in range(captures):
        found = control_mean.interval(runs, runs[..., -1], pooled=series.pooled(rng))
        assert found is not None
        shares.append(((found[0] <= truth) & (truth <= found[1])).mean(axis=0))
    return np.mean(shares, axis=0)


def strays(series: Series, count: int, rng: np.random.Generator, captures: int) -> FloatArray:
    """|log(mean ÷ truth)| of totals in standard deviations of one run, any number of values."""
    runs = series.stretches(count)
    totals = runs[..., -1]
    off = np.abs(np.log(control_mean.mean(runs, totals)[:, -1] / series.truth[-1]))
    spreads = [
        control_mean.spread(runs, totals, series.pooled(rng))[:, -1] for _ in range(captures)
    ]
    return np.concatenate([off / s for s in spreads])


def quantile(values: Sequence[FloatArray], level: float = 0.95) -> float:
    """Quantile over several sets of values, each with the same weight."""
    together = np.concatenate(values)
    weights = np.concatenate([np.full(len(v), 1 / len(v)) for v in values])
    order = np.argsort(together)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(together[order][np.searchsorted(reached, level)])


def stopped(
    series: Series, precision: float, rng: np.random.Generator, captures: int
) -> tuple[float, float]:
    """Coverage of the total, and mean count, of samples that stop at a precision or at the most."""
    most = min(MOST, int(len(series.columns) * LONGEST))
    runs, truth = series.stretches(most)[..., -1:], series.truth[-1]
    held, counts = [], []
    for _ in range(captures):
        pooled = series.pooled(rng)
        total = PooledSpread(pooled.relative[-1:], pooled.freedom)
        going = np.ones(len(runs), bool)
        holds = np.zeros(len(runs), bool)
        count = np.zeros(len(runs))
        for k in range(2, most + 1):
            low, high, middle = _ends(runs[:, :k], total)
            stop = going & (((high - low) / 2 <= precision * middle) | (k == most))
            holds[stop] = (low <= truth)[stop] & (truth <= high)[stop]
            count[stop] = k
            going &= ~stop
        held.append(holds.mean())
        counts.append(count.mean())
    return float(np.mean(held)), float(np.mean(counts))


def _ends(runs: FloatArray, pooled: PooledSpread) -> tuple[FloatArray, FloatArray, FloatArray]:
    totals = runs[..., 0]
    found = control_mean.interval(runs, totals, pooled=pooled, sequential=True)
    assert found is not None
    return found[0][:, 0], found[1][:, 0], control_mean.mean(runs, totals)[:, 0]


def print_coverage(series: Sequence[Series]) -> None:
    """Coverage by count: all series together, stages together, and the total by series."""
    print("K     all  stages  " + "  ".join(one.name for one in series))
    for count in COUNTS:
        chosen = usable(series, count)
        by_series = [covered(s, count, np.random.default_rng(1), CAPTURES) for s in chosen]
        total = np.mean([c[-1] for c in by_series])
        stages = np.mean([c[:-1].mean() for c in by_series])
        told = {s.name: f"{c[-1]:.3f}" for s, c in zip(chosen, by_series, strict=True)}
        row = "  ".join(told.get(s.name, "").rjust(len(s.name)) for s in series)
        print(f"{count:<4} {total:.3f}   {stages:.3f}  {row}")
    print("\nstopping when the total is known to ±precision, or at 30 or n/7 controls")
    for precision in PRECISIONS:
        found = {s.name: stopped(s, precision, np.random.default_rng(2), CAPTURES) for s in series}
        together = np.mean([share for share, _ in found.values()])
        each = ", ".join(f"{n} {share:.3f} (K̄ {k:.1f})" for n, (share, k) in found.items())
        print(f"±{precision:.0%}: {together:.3f}; {each}")


def print_calibration(series: Sequence[Series]) -> None:
    """The 95 % quantile of how far means stray, by count: what the multipliers are read from."""
    for count in COUNTS:
        chosen = usable(series, count)
        values = [strays(s, count, np.random.default_rng(1), CAPTURES) for s in chosen]
        each = ", ".join(
            f"{s.name} {quantile([v]):.2f}" for s, v in zip(chosen, values, strict=True)
        )
        used = control_mean.multiplier(count, PooledSpread(np.ones(1), 99))
        print(f"{count:<3} {quantile(values):.2f} (used {used:.2f}); {each}")


def print_left_out(series: Sequence[Series]) -> None:
    """Coverage of each series with the quantile of the others: whether the table transfers."""
    for count in COUNTS:
        chosen = usable(series, count)
        if len(chosen) < 3:
            continue
        values: Mapping[str, FloatArray] = {
            s.name: strays(s, count, np.random.default_rng(1), CAPTURES) for s in chosen
        }
        shares = {
            name: float((own <= quantile([v for n, v in values.items() if n != name])).mean())
            for name, own in values.items()
        }
        each = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
        print(f"{count:<3} {np.mean(list(shares.values())):.3f}; {each}")


def main() -> None:
    """Print the results that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--leave-out", action="store_true")
    parser.add_argument("--later", action="store_true")
    options = parser.parse_args()
    series = read_series(LATER if options.later else SERIES)
    if options.calibrate:
        print_calibration(series)
    elif options.leave_out:
        print_left_out(series)
    else:
        print_coverage(series)


if __name__ == "__main__":
    main()
