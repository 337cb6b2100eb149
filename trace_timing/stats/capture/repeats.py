"""How much controls of one input differ, by stage, and how many controls a precision needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trace_timing import schema
from trace_timing.arrays import FloatArray
from trace_timing.stats.methods.control_mean import MULTIPLIERS, multiplier, pooled_spread
from trace_timing.stats.methods.middle import median

#: Fewest runs of a sample for percentiles around their median.
FEWEST_RUNS = 3
#: Numbers of controls for which a half-width is given.
COUNTS = (1, 2, 3, 5, 10, 20, max(MULTIPLIERS))
TIMES = tuple(schema.SAMPLE_TIMES)
TOTAL = "T_total"


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How much one time differs between controls of one input, over the samples of a capture."""

    time: str
    samples: int
    runs: int
    #: Standard deviation ÷ mean within a sample, pooled over the samples.
    cv_frac: float
    #: Percentiles of (a run ÷ the median of its sample's runs); None where no sample has three.
    p95_ratio: float | None
    p99_ratio: float | None
    #: Controls of a sample → half the width of its 95 % interval ÷ the time.
    half_widths: Mapping[int, float]

    def row(self) -> dict[str, Any]:
        """A row for a table, by column name."""
        return {
            "time": self.time,
            "samples": self.samples,
            "runs": self.runs,
            "cv_frac": self.cv_frac,
            "p95_ratio": self.p95_ratio,
            "p99_ratio": self.p99_ratio,
            **{f"half_width_{k}_frac": half for k, half in self.half_widths.items()},
        }


def repeats_of_controls(runs: pd.DataFrame) -> tuple[Repeats, ...]:
    """One entry for each time that at least two controls of one sample have.

    The half-widths are those that `control_mean.interval` gives on average: its multiplier for that
    many controls times the spread pooled over the capture.

    Args:
        runs: schema.RUNS. Controls that are bare or have the profiler attached are left out.
    """
    groups = list(_controls(runs))
    total = TIMES.index(TOTAL)
    pooled = pooled_spread((times, times[:, total]) for times in groups)
    if pooled is None:
        return ()
    repeats = []
    for place, time in enumerate(TIMES):
        mine = [g[:, place] for g in groups if np.isfinite(g[:, place]).all()]
        spread = float(pooled.relative[place])
        # A stage may take no time, such as vision for a prompt of text alone.
        if not mine or not math.isfinite(spread) or not any(values.any() for values in mine):
            continue
        p95, p99 = _tail(mine)
        repeats.append(
            Repeats(
                time=time,
                samples=len(mine),
                runs=sum(map(len, mine)),
                cv_frac=spread,
                p95_ratio=p95,
                p99_ratio=p99,
                half_widths={k: math.sinh(multiplier(k, pooled) * spread) for k in COUNTS},
            )
        )
    return tuple(repeats)


def controls_for(repeats: Repeats, half_width_frac: float) -> int | None:
    """The least of COUNTS whose interval is narrow enough; None where none is."""
    enough = (k for k, half in repeats.half_widths.items() if half <= half_width_frac)
    return min(enough, default=None)


def _controls(runs: pd.DataFrame) -> Iterator[FloatArray]:
    """(K, TIMES) in ms of each sample and rank with at least two controls; NaN for absent times."""
    alike = (runs["role"] == "control") & (runs["cupti"] != "attached") & (runs["bare"] == False)  # noqa: E712
    columns = [f"{name}_ms" for name in TIMES]
    known = runs[alike].dropna(subset=[f"{TOTAL}_ms"])
    times = known[columns].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    places: dict[tuple[str, int], list[int]] = {}
    keys = zip(known["sample_id"].tolist(), known["rank"].tolist(), strict=True)
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    yield from (times[some] for some in places.values() if len(some) >= 2)


def _tail(samples: list[FloatArray]) -> tuple[float | None, float | None]:
    ratios = [
        values / middle
        for values in samples
        if len(values) >= FEWEST_RUNS and (middle := median(values)) > 0
    ]
    if not ratios:
        return None, None
    p95, p99 = np.percentile(np.concatenate(ratios), [95, 99])
    return float(p95), float(p99)
