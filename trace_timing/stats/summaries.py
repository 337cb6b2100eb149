"""Summaries of times over runs: location, spread, tail, interval, outliers, noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trace_timing import schema
from trace_timing.errors import UsageError
from trace_timing.records import RunRecord
from trace_timing.stats.bootstrap import Interval, interval
from trace_timing.units import BoolArray, FloatArray

#: Modified z above which a value is an outlier, and the constant that makes MAD a sigma.
#: Source: B. Iglewicz and D. Hoaglin, How to Detect and Handle Outliers (1993), section 3.
OUTLIER_Z = 3.5
MAD_TO_SIGMA = 0.6745
#: An SM clock this far below the capture's usual one is a drop.
CLOCK_DROP_FRAC = 0.05


@dataclass(frozen=True, kw_only=True)
class Summary:
    """n values of one quantity, all figures in its unit; the interval is of the median, 95 %."""

    n: int
    median: float
    median_interval: Interval | None
    mean: float
    p90: float
    p95: float
    p99: float
    mad: float
    outliers: int


def summarise(values: FloatArray) -> Summary | None:
    """Summary of the finite ones of n values; None where there is none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    p90, p95, p99 = np.percentile(known, [90, 95, 99])
    return Summary(
        n=len(known),
        median=float(np.median(known)),
        median_interval=interval(known),
        mean=float(known.mean()),
        p90=float(p90),
        p95=float(p95),
        p99=float(p99),
        mad=mad(known),
        outliers=int(outliers(known).sum()),
    )


def mad(values: FloatArray) -> float:
    """Median absolute deviation from the median, not scaled."""
    return float(np.median(np.abs(values - np.median(values))))


def outliers(values: FloatArray) -> BoolArray:
    """Which of n values lie far out, by the modified z-score.

    Where more than half the values are equal (MAD 0) none is called an outlier: there is no
    spread to be far out of.
    """
    spread = mad(values)
    if spread == 0:
        return np.zeros(len(values), dtype=bool)
    far: BoolArray = MAD_TO_SIGMA * np.abs(values - np.median(values)) / spread > OUTLIER_Z
    return far


def causes(records: Sequence[RunRecord]) -> dict[tuple[str, int, int], tuple[str, ...]]:
    """What the machine's state says against each profiled run, by (sample_id, repeat, rank).

    `first_run`: the first of its process. `allocator`: the device allocator retried or grew
    within it. `clock_drop`: an SM clock more than 5 % below the capture's median.
    """
    profiled = [record for record in records if record.role == "profiled"]
    clocks = {id(r): _device_figures(r, "after", "sm_mhz") for r in profiled}
    all_clocks = [clock for found in clocks.values() for clock in found]
    usual = float(np.median(all_clocks)) if all_clocks else 0.0
    return {
        (r.sample_id, r.repeat, r.rank): tuple(
            name
            for name, raised in (
                ("first_run", r.ordinal == 0),
                ("allocator", _rose(r, "alloc_retries") or _rose(r, "device_allocs")),
                ("clock_drop", any(c < usual * (1 - CLOCK_DROP_FRAC) for c in clocks[id(r)])),
            )
            if raised
        )
        for r in profiled
    }


def _rose(record: RunRecord, figure: str) -> bool:
    before, after = (_device_figures(record, when, figure) for when in ("before", "after"))
    return sum(after) > sum(before) if before and after else False


def _device_figures(record: RunRecord, when: str, figure: str) -> list[float]:
    devices = (record.machine.get(when) or {}).get("devices") or []
    return [float(device[figure]) for device in devices if device.get(figure) is not None]


def summary_table(samples: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """One row a group and time of the sample table, figures in ms.

    A sample's repeats are reduced to their median first: n counts samples.

    Args:
        samples: schema.SAMPLES with metadata columns.
        by: columns to group by, metadata ones among them.
    Raises:
        UsageError: no such column.
    """
    unknown = [name for name in by if name not in samples.columns]
    if unknown:
        own = [name for name in samples.columns if name not in schema.SAMPLES.names]
        raise UsageError(
            f"no column {', '.join(unknown)} to group by",
            why=f"the metadata columns are {', '.join(own) or 'none'}",
            remedy="name one of these, or a column of samples.csv",
        )
    rows: list[dict[str, Any]] = []
    times = [f"{name}_ms" for name in schema.SAMPLE_TIMES]
    groups = samples.groupby(list(by), dropna=False, sort=True) if by else [((), samples)]
    for value, group in groups:
        medians = group.groupby("sample_id")[times].median()
        for time in times:
            found = summarise(np.asarray(medians[time].astype(float), np.float64))
            if found is not None:
                rows.append({**dict(zip(by, value, strict=True)), "time": time, **_flat(found)})
    return pd.DataFrame(rows)


def _flat(summary: Summary) -> dict[str, Any]:
    around = summary.median_interval
    return {
        "n": summary.n,
        "median_ms": summary.median,
        "median_lo_ms": around.low if around else None,
        "median_hi_ms": around.high if around else None,
        "mean_ms": summary.mean,
        "p90_ms": summary.p90,
        "p95_ms": summary.p95,
        "p99_ms": summary.p99,
        "mad_ms": summary.mad,
        "outliers": summary.outliers,
    }


def noise_floor(samples: pd.DataFrame, time: str = "T_total_ms") -> float | None:
    """How much repeats of one input differ: median over samples of MAD ÷ median of the repeats.

    A fraction; differences below it are noise. None where no sample has three repeats.
    """
    known = samples[["sample_id", time]].dropna()
    found = [
        mad(values) / float(np.median(values))
        for _, group in known.groupby("sample_id")[time]
        if len(values := np.asarray(group, np.float64)) >= 3 and np.median(values) > 0
    ]
    return float(np.median(found)) if found else None
