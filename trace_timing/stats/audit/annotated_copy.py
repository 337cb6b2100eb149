"""A copy of an audited file: its rows unchanged, the audit's columns after them."""

from __future__ import annotations

from typing import Any

import numpy as np

from trace_timing.stats.audit.read_results import OlderResults
from trace_timing.stats.audit.row_validity import Judged, column, number_or_none
from trace_timing.stats.audit.step_count import step_rate
from trace_timing.stats.methods.intervals import Interval


def cleaned_rows(
    older: OlderResults, judged: Judged, *, estimate: bool = False
) -> list[dict[str, Any]]:
    """The file's rows, unchanged, with the audit's columns after them.

    `valid`; `invalid_reasons`; `T_LLM_decode_unclamped` (every row); `T_LLM_decode_negative`
    (the unclamped difference where it is negative, null elsewhere). With `estimate`, for invalid
    rows that did decode: `T_LLM_decode_estimated` = steps × the valid rows' rate, its 95 % bounds
    and the flag `T_LLM_decode_is_estimate`. No estimate is given where there is no step.
    """
    rate = step_rate(older, judged) if estimate else None
    tokens = column(older.figures, "output_tokens")
    rows = []
    for i, record in enumerate(older.records):
        difference = number_or_none(judged.difference_ms[i])
        row: dict[str, Any] = dict(record)
        row["valid"] = bool(judged.valid[i])
        row["invalid_reasons"] = list(judged.reasons[i])
        row["T_LLM_decode_unclamped"] = difference
        row["T_LLM_decode_negative"] = (
            difference if difference is not None and difference < 0 else None
        )
        if estimate:
            steps = int(tokens[i]) - 1 if np.isfinite(tokens[i]) and tokens[i] >= 2 else None
            row |= _estimate(rate, None if judged.valid[i] else steps)
        rows.append(row)
    return rows


def _estimate(rate: tuple[float, Interval | None] | None, steps: int | None) -> dict[str, Any]:
    value = rate[0] * steps if rate and steps else None
    bounds = rate[1] if rate and steps else None
    return {
        "T_LLM_decode_estimated": value,
        "T_LLM_decode_estimated_lo": bounds.low * steps if bounds and steps else None,
        "T_LLM_decode_estimated_hi": bounds.high * steps if bounds and steps else None,
        "T_LLM_decode_is_estimate": value is not None,
    }
