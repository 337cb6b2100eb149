"""N output tokens take N − 1 decode steps: which of the two a file divided by, and ms a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from trace_timing.stats.audit.read_results import OlderResults
from trace_timing.stats.audit.row_validity import ROUNDING_MS, Judged, column
from trace_timing.stats.methods.intervals import Interval, median_interval
from trace_timing.stats.methods.trend import LineFit, fit_line

#: Fewest rows of one output length whose median rate is given.
FEWEST_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class LengthRates:
    """Median decode ÷ N and decode ÷ (N − 1) over the rows with N output tokens."""

    output_tokens: int
    rows: int
    per_token_ms: float
    per_step_ms: float


@dataclass(frozen=True, kw_only=True)
class Fencepost:
    """Which divisor the file used, N or N − 1, and with which the rate is independent of length.

    Over rows with two tokens or more and an unclamped decode. `line` is decode against steps;
    `zero_at_tokens` is the output length at which it crosses zero: 1 if steps are N − 1, 0 if each
    token took a step. `tau_*` is Kendall's rank correlation of a rate with the output length: with
    the wrong divisor a constant step seems to grow.
    """

    rows: int
    divisor: str
    line: LineFit | None
    zero_at_tokens: float | None
    tau_per_token: float
    p_per_token: float
    tau_per_step: float
    p_per_step: float
    verdict: str
    by_length: tuple[LengthRates, ...]


def fit_fencepost(older: OlderResults, judged: Judged) -> Fencepost | None:
    """Fit decode against output length; None where fewer than three rows or one length remain."""
    tokens, decode = column(older.figures, "output_tokens"), column(older.figures, "T_LLM_decode")
    usable = (tokens >= 2) & (decode > 0) & ~judged.negative
    tokens, decode = tokens[usable], decode[usable]
    if len(tokens) < FEWEST_ROWS or np.ptp(tokens) == 0:
        return None
    line = fit_line(tokens - 1, decode)
    per_token, per_step = decode / tokens, decode / (tokens - 1)
    by_token, by_step = stats.kendalltau(tokens, per_token), stats.kendalltau(tokens, per_step)
    return Fencepost(
        rows=len(tokens),
        divisor=_divisor(older),
        line=line,
        zero_at_tokens=1 - line.intercept / line.slope if line and line.slope > 0 else None,
        tau_per_token=float(by_token.statistic),
        p_per_token=float(by_token.pvalue),
        tau_per_step=float(by_step.statistic),
        p_per_step=float(by_step.pvalue),
        verdict=_fencepost_verdict(by_token.statistic, by_token.pvalue, by_step.statistic),
        by_length=tuple(
            LengthRates(
                output_tokens=int(length),
                rows=int((tokens == length).sum()),
                per_token_ms=float(np.median(per_token[tokens == length])),
                per_step_ms=float(np.median(per_step[tokens == length])),
            )
            for length in np.unique(tokens)
        ),
    )


def _divisor(older: OlderResults) -> str:
    """The divisor of the file's own per-token figure: `tokens`, `steps` or `unknown`."""
    f = older.figures
    tokens, decode = column(f, "output_tokens"), column(f, "T_LLM_decode")
    rate = column(f, "T_decode_per_token")
    rows = np.isfinite(rate) & (tokens >= 2) & (decode > 0)
    if not rows.any():
        return "unknown"
    for name, divisor in (("tokens", tokens), ("steps", tokens - 1)):
        if np.allclose((rate * divisor)[rows], decode[rows], rtol=1e-3, atol=ROUNDING_MS):
            return name
    return "unknown"


def _fencepost_verdict(tau_token: float, p_token: float, tau_step: float) -> str:
    if p_token < 0.05 and tau_token > 0 and abs(tau_step) < tau_token:
        return "steps are N − 1: the per-token rate rises with length, the per-step rate does less"
    return "cannot tell N from N − 1 on these rows: their rates vary more than the divisor does"


def step_rate(older: OlderResults, judged: Judged) -> tuple[float, Interval | None] | None:
    """Median ms a decode step of the valid rows, and its 95 % interval. Steps, not tokens."""
    tokens, decode = column(older.figures, "output_tokens"), column(older.figures, "T_LLM_decode")
    rows = judged.valid & (tokens >= 2)
    if not rows.any():
        return None
    rates = decode[rows] / (tokens[rows] - 1)
    return float(np.median(rates)), median_interval(rates)
