"""Statistics over the runs of an analysis: spread, noise floor, outliers, growth with size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from trace_timing.arrays import FloatArray
from trace_timing.records.runs import RunRecord
from trace_timing.stats.capture.growth import LatencyGrowth
from trace_timing.stats.capture.noise import NoiseFloor, noise_floors
from trace_timing.stats.capture.repeats import Repeats, repeats_of_controls
from trace_timing.stats.latency.evidence import FAULTS
from trace_timing.stats.methods.outliers import Outlier, find_outliers
from trace_timing.stats.methods.thinning import thinned_places
from trace_timing.stats.methods.trend import LineFit, fit_line
from trace_timing.units import NS_PER_MS

#: Lines that are fitted: (time, size).
GROWTH = (("prefill", "input_tokens"), ("decode step", "position"), ("decode step", "kv_length"))
MOST_DRAWN = 1_000
US_PER_MS = 1_000
#: Kind of time → column of a prefill (of schema.SAMPLES) and of a step (of schema.STEPS).
KINDS: Mapping[str, tuple[str, str]] = {
    "latency": ("T_LLM_prefill_ms", "latency_ns"),
    "recorded": ("T_LLM_prefill_recorded_ms", "window_ns"),
    "busy": ("T_LLM_prefill_busy_ms", "busy_ns"),
}


@dataclass(frozen=True, kw_only=True)
class ScalingFit:
    """A line of one time (`of`: prefill, decode step, in ms, by `kind`) against one size.

    `x` and `y` are the points to draw: all, or an even selection of very many.
    """

    of: str
    kind: str
    against: str
    line: LineFit
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def row(self) -> dict[str, object]:
        """The fit as a table's row: intercept and spread in ms, slopes in µs."""
        around = self.line.slope_interval
        return {
            "of": self.of,
            "time": self.kind,
            "against": self.against,
            "points": self.line.points,
            "intercept_ms": self.line.intercept,
            "slope_us": self.line.slope * US_PER_MS,
            "slope_lo_us": around.low * US_PER_MS if around else None,
            "slope_hi_us": around.high * US_PER_MS if around else None,
            # Rounded to ns: the residuals of an exact line are float noise.
            "spread_ms": round(self.line.spread, 6),
        }


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics over the runs of an analysis."""

    noise_floor: tuple[NoiseFloor, ...]
    scaling: tuple[ScalingFit, ...]
    outliers: tuple[Outlier, ...]
    repeats: tuple[Repeats, ...] = ()


def statistics(
    samples: pd.DataFrame,
    runs: pd.DataFrame,
    steps: pd.DataFrame,
    records: Sequence[RunRecord] = (),
    growth: LatencyGrowth | None = None,
) -> Statistics:
    """Statistics of an analysis.

    Args:
        samples, runs, steps: schema.SAMPLES, RUNS and STEPS.
        records: of recorded runs and controls, where there are any.
        growth: of a decode step's latency by position.
    """
    return Statistics(
        noise_floor=noise_floors(runs),
        scaling=scaling_fits(samples, steps, growth),
        outliers=find_outliers(runs, records),
        repeats=repeats_of_controls(runs),
    )


def scaling_fits(
    samples: pd.DataFrame, steps: pd.DataFrame, growth: LatencyGrowth | None = None
) -> tuple[ScalingFit, ...]:
    """Prefill against input tokens, a decode step against position and cache length.

    From samples without a fault; a size with one value has no line. Recorded windows are fitted
    only where there is no latency. The intervals assume independent points, which the busy times of
    steps are. Latencies of the steps of one run are not: their slope is `growth`, or has no
    interval.
    """
    tables = {"prefill": _prefills(samples), "decode step": _steps(samples, steps)}
    fits: list[ScalingFit] = []
    for of, against in GROWTH:
        table = tables[of]
        has_latency = bool(table["latency_ms"].notna().any())
        for kind in KINDS:
            if kind == "recorded" and has_latency:
                continue
            x, y = _floats(table[against]), _floats(table[f"{kind}_ms"])
            line = fit_line(x, y)
            if line is None:
                continue
            if (of, kind) == ("decode step", "latency"):
                line = _of_controls(line, x, y, growth)
            known = np.isfinite(x) & np.isfinite(y)
            drawn = np.flatnonzero(known)[thinned_places(int(known.sum()), MOST_DRAWN)]
            fits.append(
                ScalingFit(
                    of=of,
                    kind=kind,
                    against=against,
                    line=line,
                    x=tuple(x[drawn].tolist()),
                    y=tuple(y[drawn].tolist()),
                )
            )
    return tuple(fits)


def _of_controls(
    line: LineFit, x: FloatArray, y: FloatArray, growth: LatencyGrowth | None
) -> LineFit:
    """The line with `growth`'s slope through the middle of the points."""
    if growth is None:
        return replace(line, slope_interval=None)
    left = (y - growth.slope * x)[np.isfinite(x) & np.isfinite(y)]
    intercept = float(np.median(left))
    return replace(
        line,
        slope=growth.slope,
        slope_interval=growth.interval,
        intercept=intercept,
        spread=float(np.median(np.abs(left - intercept))),
    )


def _without_fault(samples: pd.DataFrame) -> pd.DataFrame:
    faults = samples["reasons"].fillna("").str.split(",")
    return samples[[not FAULTS.intersection(codes) for codes in faults]]


def _prefills(samples: pd.DataFrame) -> pd.DataFrame:
    good = _without_fault(samples)
    table = good[["input_tokens"]].copy()
    for kind, (column, _) in KINDS.items():
        table[f"{kind}_ms"] = good[column].astype(float)
    table["latency_ms"] = table["latency_ms"].where(good["usable"])
    return table


def _steps(samples: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """The steps of samples without a fault, with their times."""
    bad = set(samples["sample_id"]) - set(_without_fault(samples)["sample_id"])
    good = steps[(steps["stage"] == "decode") & ~steps["sample_id"].isin(bad)]
    table = good[["kv_length"]].copy()
    table["position"] = good["step"]
    for kind, (_, column) in KINDS.items():
        table[f"{kind}_ms"] = good[column].astype("Float64").astype(float) / NS_PER_MS
    table["latency_ms"] = table["latency_ms"].where(good["usable"])
    # Steps that were not recorded have a window too: the host's time, at another speed.
    table["recorded_ms"] = table["recorded_ms"].where(good["recorded"])
    return table


def _floats(values: pd.Series[Any]) -> FloatArray:
    known = pd.to_numeric(values, errors="coerce").astype("Float64")
    return np.asarray(known.astype(float), np.float64)
