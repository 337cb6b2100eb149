"""What an analysis says over its runs together: spread, noise floor, outliers, growth with size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trace_timing.records import RunRecord
from trace_timing.stats.labels import step_rows, with_reasons
from trace_timing.stats.noise import NoiseFloor, noise_floors
from trace_timing.stats.outliers import Outlier, find_outliers
from trace_timing.stats.scaling import LineFit, fit_line
from trace_timing.units import FloatArray

#: What grows with what: (of, against).
GROWTH = (("prefill", "input_tokens"), ("decode step", "position"), ("decode step", "kv_length"))
MOST_DRAWN = 1_000
US_PER_MS = 1_000
KINDS: Mapping[str, str] = {"busy": "_busy", "window": ""}


@dataclass(frozen=True, kw_only=True)
class ScalingFit:
    """One time against one size: `of` (prefill, decode step) in ms, by `kind` of time.

    `x` and `y` are points to draw: all, or every so many of very many.
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
            # To the nanosecond: a line through all its points leaves float noise.
            "spread_ms": round(self.line.spread, 6),
        }


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Over the runs of an analysis."""

    noise_floor: tuple[NoiseFloor, ...]
    scaling: tuple[ScalingFit, ...]
    outliers: tuple[Outlier, ...]


def statistics(
    samples: pd.DataFrame,
    steps: pd.DataFrame,
    records: Sequence[RunRecord] = (),
    controls: Sequence[RunRecord] = (),
) -> Statistics:
    """Statistics of an analysis.

    Args:
        samples, steps: schema.SAMPLES and STEPS.
        records, controls: of the profiled and of the unprofiled runs, where there are any.
    """
    return Statistics(
        noise_floor=noise_floors(samples, controls),
        scaling=scaling_fits(samples, steps, records),
        outliers=find_outliers(samples, records),
    )


def scaling_fits(
    samples: pd.DataFrame, steps: pd.DataFrame, records: Sequence[RunRecord] = ()
) -> tuple[ScalingFit, ...]:
    """Prefill against input tokens, a decode step against position and cache length.

    Of usable runs, a sample's repeats reduced to their median; a size that takes one value alone
    has no line. The intervals take points as independent: steps of one run are not quite.
    """
    judged = with_reasons(samples, records)
    good = judged[judged["_reasons"] == ""]
    tables = {"prefill": _prefills(good), "decode step": step_rows(good, steps)}
    fits = []
    for of, against in GROWTH:
        for kind in KINDS:
            table = tables[of]
            x, y = _floats(table[against]), _floats(table[f"{kind}_ms"])
            line = fit_line(x, y)
            if line is None:
                continue
            known = np.isfinite(x) & np.isfinite(y)
            each = len(x) // MOST_DRAWN + 1
            fits.append(
                ScalingFit(
                    of=of,
                    kind=kind,
                    against=against,
                    line=line,
                    x=tuple(x[known][::each].tolist()),
                    y=tuple(y[known][::each].tolist()),
                )
            )
    return tuple(fits)


def _prefills(samples: pd.DataFrame) -> pd.DataFrame:
    by_sample = samples.groupby("sample_id", sort=False)
    columns = {kind: f"T_LLM_prefill{suffix}_ms" for kind, suffix in KINDS.items()}
    table = by_sample[["input_tokens", *columns.values()]].median()
    return table.rename(columns={name: f"{kind}_ms" for kind, name in columns.items()})


def _floats(values: pd.Series[Any]) -> FloatArray:
    known = pd.to_numeric(values, errors="coerce").astype("Float64")
    return np.asarray(known.astype(float), np.float64)
