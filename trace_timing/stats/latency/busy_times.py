"""Busy times of samples, estimated where not all steps were recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trace_timing.schema import ESTIMATED_TIMES

if TYPE_CHECKING:
    import pandas as pd


def busy_ms(samples: pd.DataFrame, time: str) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Busy ms of a time by sample, and which of them are estimates, to be shown as such.

    Args:
        samples: schema.SAMPLES.
        time: of schema.SAMPLE_TIMES.
    """
    measured = samples[f"{time}_busy_ms"].astype(float)
    if time not in ESTIMATED_TIMES or f"{time}_busy_estimate_ms" not in samples:
        return measured, measured.isna() & False
    estimate = samples[f"{time}_busy_estimate_ms"].astype(float)
    return measured.fillna(estimate), measured.isna() & estimate.notna()
