"""Summaries of times over samples: location, spread, tail, interval, number of outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trace_timing import schema
from trace_timing.arrays import FloatArray
from trace_timing.errors import UsageError, did_you_mean
from trace_timing.stats.methods.intervals import Interval, median_interval
from trace_timing.stats.methods.outliers import FEWEST_TO_STAND_OUT_OF, mad, outliers


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Summary of n values, in their unit; the interval is the median's, at 95 %."""

    n: int
    median: float
    median_interval: Interval | None
    mean: float
    p90: float
    p95: float
    p99: float
    mad: float
    #: Standard deviation ÷ mean; None for one value, and where the mean is 0.
    cv_frac: float | None
    outliers: int


def summarise(values: FloatArray) -> Summary | None:
    """Summary of the finite values; None where there is none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    p90, p95, p99 = np.percentile(known, [90, 95, 99])
    return Summary(
        n=len(known),
        median=float(np.median(known)),
        median_interval=median_interval(known),
        mean=float(known.mean()),
        p90=float(p90),
        p95=float(p95),
        p99=float(p99),
        mad=mad(known),
        cv_frac=_variation(known),
        outliers=int(outliers(known).sum()) if len(known) >= FEWEST_TO_STAND_OUT_OF else 0,
    )


def _variation(values: FloatArray) -> float | None:
    if len(values) < 2 or not values.mean():
        return None
    return float(values.std(ddof=1) / values.mean())


def summary_table(samples: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """One row a group and time of the sample table, figures in ms.

    A sample's ranks are reduced to their median first: n counts samples.

    Args:
        samples: schema.SAMPLES with metadata columns.
        by: columns to group by, metadata columns too.
    Raises:
        UsageError: no such column.
    """
    unknown = [name for name in by if name not in samples.columns]
    if unknown:
        own = [name for name in samples.columns if name not in schema.SAMPLES.names]
        raise UsageError(
            f"no column {', '.join(unknown)} to group by",
            why=f"the metadata columns are {', '.join(own) or 'none'}",
            remedy=did_you_mean(unknown[0], map(str, samples.columns))
            + "name one of these, or a column of samples.csv",
        )
    rows: list[dict[str, Any]] = []
    times = [f"{name}_ms" for name in schema.SAMPLE_TIMES]
    groups = samples.groupby(list(by), dropna=False, sort=True) if by else [((), samples)]
    for value, group in groups:
        medians = group.groupby("sample_id")[times].median()
        for time in times:
            summary = summarise(np.asarray(medians[time].astype(float), np.float64))
            if summary is not None:
                rows.append({**dict(zip(by, value, strict=True)), "time": time, **_flat(summary)})
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
        "cv_frac": summary.cv_frac,
        "outliers": summary.outliers,
    }
