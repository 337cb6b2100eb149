"""Whether the decode figure of each older row is valid, and why not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from trace_timing.arrays import BoolArray, FloatArray
from trace_timing.stats.audit.read_results import OlderResults

#: Reason of an invalid row → what it means, in the order in which reasons are listed.
REASONS: dict[str, str] = {
    "missing_figure": "a needed figure is missing or not finite",
    "no_output_tokens": "no output token: nothing was generated",
    "one_token_no_decode_step": "one output token takes no decode step: no decode figure applies",
    "parts_exceed_total": "vision and prefill together exceed the total: decode would be negative",
    "decode_zero_with_tokens": "decode reads 0 though tokens were generated: a clamped difference",
    "decode_negative": "decode is below zero",
    "vit_exceeds_vision_total": "the encoder alone exceeds the vision total it is part of",
}
#: Two figures written with a rounding to 0.01 ms count as equal.
ROUNDING_MS = 0.015


@dataclass(frozen=True)
class Judged:
    """The rows of a file, judged: shapes (n,), in the file's order.

    `difference_ms` is the unclamped total less vision less prefill, NaN where one is missing.
    """

    valid: BoolArray
    reasons: tuple[tuple[str, ...], ...]
    difference_ms: FloatArray

    @property
    def negative(self) -> BoolArray:
        """Rows whose vision and prefill exceed their total."""
        return self.difference_ms < 0


def judge(older: OlderResults) -> Judged:
    """The reasons why each row's decode or vision figures cannot be used."""
    f = older.figures
    difference = column(f, "T_total") - column(f, "T_vision_total") - column(f, "T_LLM_prefill")
    tokens, decode = column(f, "output_tokens"), column(f, "T_LLM_decode")
    flags: dict[str, BoolArray] = {
        "missing_figure": ~np.isfinite(difference + tokens + decode),
        "no_output_tokens": tokens < 1,
        "one_token_no_decode_step": tokens == 1,
        "parts_exceed_total": difference < 0,
        "decode_zero_with_tokens": (decode == 0) & (tokens > 0),
        "decode_negative": decode < 0,
        "vit_exceeds_vision_total": column(f, "T_vit") > column(f, "T_vision_total"),
    }
    matrix = np.column_stack([flags[name] for name in REASONS])
    reasons = tuple(
        tuple(name for name, raised in zip(REASONS, row, strict=True) if raised) for row in matrix
    )
    return Judged(np.logical_not(matrix.any(axis=1)), reasons, difference)


def column(table: pd.DataFrame, name: str) -> FloatArray:
    """A numeric column as float64, shape (n,)."""
    values: FloatArray = table[name].to_numpy(dtype=np.float64)
    return values


def number_or_none(value: float) -> float | None:
    """None for NaN, so that it is null in JSON."""
    return float(value) if np.isfinite(value) else None
