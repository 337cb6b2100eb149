"""What wall-clock subtraction did to existing labels.

Such experiments time the whole, the vision part and the prefill in separate forward passes and
write decode as `max(0, T_total − T_vision_total − T_LLM_prefill)`. The three terms share no run,
so their noise adds up in the difference; where it falls below zero the clamp hides it. Rows are
judged here one by one; nothing is deleted and nothing replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from trace_timing.records import Doubt
from trace_timing.stats.bootstrap import Interval, interval
from trace_timing.stats.older_results import OlderResults
from trace_timing.stats.scaling import LineFit, fit_line
from trace_timing.units import BoolArray, FloatArray

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
#: Rows of a group that a rate may be read from.
FEWEST_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class NegativeRow:
    """One row whose parts exceed its total, with the arithmetic (ms)."""

    row: int
    sample_id: str
    output_tokens: int
    total_ms: float
    vision_ms: float
    prefill_ms: float
    difference_ms: float
    recorded_ms: float


@dataclass(frozen=True, kw_only=True)
class AuditGroup:
    """The counts of the rows with one value of one column; `column` is None for all rows."""

    column: str | None
    value: str
    rows: int
    valid: int
    one_token: int
    zero_decode: int
    negative: int
    negative_frac: float
    #: Of the negative differences, unclamped; None where there is none.
    negative_mean_ms: float | None
    negative_min_ms: float | None
    negative_max_ms: float | None


@dataclass(frozen=True, kw_only=True)
class LengthRates:
    """Median rates of the rows of one output length: what dividing by N and by N − 1 gives."""

    output_tokens: int
    rows: int
    per_token_ms: float
    per_step_ms: float


@dataclass(frozen=True, kw_only=True)
class Fencepost:
    """N output tokens take N − 1 steps: which divisor the file used and which one is flat.

    Rows with two tokens or more and an unclamped decode. `line` is decode against steps;
    `zero_at_tokens` is the output length at which it crosses zero: 1 where steps are N − 1, 0
    where each token would take a step. `tau_*` is Kendall's rank correlation of a rate with the
    output length: a false divisor makes a constant step look as if it grew.
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


@dataclass(frozen=True, kw_only=True)
class Bias:
    """What the difference reads on rows whose decode is nothing: rows with one output token.

    A right method gives what sampling and the rest take, a few ms at most and never below zero.
    """

    rows: int
    negative: int
    median_ms: float
    median_interval: Interval | None
    p5_ms: float
    p95_ms: float


@dataclass(frozen=True, kw_only=True)
class AgainstRow:
    """One figure of one sample, older against captured (ms)."""

    sample_id: str
    figure: str
    older_ms: float
    captured_ms: float
    difference_ms: float
    valid: bool


@dataclass(frozen=True, kw_only=True)
class AgainstSummary:
    """One figure over the samples that both have; `valid_only` leaves out invalid older rows."""

    figure: str
    valid_only: bool
    rows: int
    median_difference_ms: float
    interval: Interval | None
    median_ratio: float


@dataclass(frozen=True, kw_only=True)
class Against:
    """Older rows against a capture of the same samples.

    Like with like: the older decode is the total less two parts, so it is held against decode +
    sampling + rest of the capture.
    """

    source: str
    matched: int
    unmatched: int
    summaries: tuple[AgainstSummary, ...]
    rows: tuple[AgainstRow, ...]


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """What one file is worth. Times in ms; `_frac` of all rows."""

    source: str
    rows: int
    valid: int
    valid_frac: float
    #: Rows by reason; a row may have several.
    reasons: Mapping[str, int]
    overall: AuditGroup
    groups: tuple[AuditGroup, ...]
    #: Every negative row, in the file's order.
    negatives: tuple[NegativeRow, ...]
    fencepost: Fencepost | None
    bias: Bias | None
    #: Of the decode steps of valid rows, per step; None where no valid row has a step.
    step_ms: float | None
    step_interval: Interval | None
    findings: tuple[Doubt, ...]
    against: Against | None = None


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
        """Rows whose parts exceed their total."""
        return self.difference_ms < 0


def judge(older: OlderResults) -> Judged:
    """Each row with the reasons for which its decode or vision figures cannot be used."""
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


def audit(
    older: OlderResults, *, by: Sequence[str] = (), against: Against | None = None
) -> AuditResult:
    """Audit one file.

    Args:
        by: columns to count by, beside `output_tokens`.
    Raises:
        UsageError: the file has no column of that name.
    """
    judged = judge(older)
    rate = step_rate(older, judged)
    fencepost = fit_fencepost(older, judged)
    bias = bias_at_one_token(older, judged)
    n = len(judged.valid)
    return AuditResult(
        source=older.source.name,
        rows=n,
        valid=int(judged.valid.sum()),
        valid_frac=float(judged.valid.mean()),
        reasons={name: sum(name in row for row in judged.reasons) for name in REASONS},
        overall=_group(older, judged, None, "all rows", np.ones(n, dtype=bool)),
        groups=tuple(
            group
            for name in dict.fromkeys(("output_tokens", *by))
            for group in _groups(older, judged, name)
        ),
        negatives=_negatives(older, judged),
        fencepost=fencepost,
        bias=bias,
        step_ms=None if rate is None else rate[0],
        step_interval=None if rate is None else rate[1],
        findings=_findings(older, judged, fencepost, bias),
        against=against,
    )


def column(table: pd.DataFrame, name: str) -> FloatArray:
    """A numeric column as float64, shape (n,)."""
    values: FloatArray = table[name].to_numpy(dtype=np.float64)
    return values


def _groups(older: OlderResults, judged: Judged, name: str) -> list[AuditGroup]:
    values = older.column(name)
    distinct = sorted(set(values), key=lambda value: (str(type(value)), value))
    return [
        _group(older, judged, name, str(value), np.array([v == value for v in values], dtype=bool))
        for value in distinct
    ]


def _group(
    older: OlderResults, judged: Judged, name: str | None, value: str, rows: BoolArray
) -> AuditGroup:
    tokens, decode = column(older.figures, "output_tokens"), column(older.figures, "T_LLM_decode")
    negative = judged.difference_ms[rows & judged.negative]
    return AuditGroup(
        column=name,
        value=value,
        rows=int(rows.sum()),
        valid=int(judged.valid[rows].sum()),
        one_token=int((tokens[rows] == 1).sum()),
        zero_decode=int(((decode == 0) & (tokens > 0))[rows].sum()),
        negative=len(negative),
        negative_frac=len(negative) / int(rows.sum()),
        negative_mean_ms=float(negative.mean()) if len(negative) else None,
        negative_min_ms=float(negative.min()) if len(negative) else None,
        negative_max_ms=float(negative.max()) if len(negative) else None,
    )


def _negatives(older: OlderResults, judged: Judged) -> tuple[NegativeRow, ...]:
    rows = older.figures[judged.negative]
    return tuple(
        NegativeRow(
            row=int(index),
            sample_id=str(row["sample_id"]),
            output_tokens=int(row["output_tokens"]) if np.isfinite(row["output_tokens"]) else -1,
            total_ms=float(row["T_total"]),
            vision_ms=float(row["T_vision_total"]),
            prefill_ms=float(row["T_LLM_prefill"]),
            difference_ms=float(judged.difference_ms[index]),
            recorded_ms=float(row["T_LLM_decode"]),
        )
        for index, row in zip(np.flatnonzero(judged.negative), rows.to_dict("records"), strict=True)
    )


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
    """What the file's own per-token figure was divided by: `tokens`, `steps` or `unknown`."""
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


def bias_at_one_token(older: OlderResults, judged: Judged) -> Bias | None:
    """The difference on rows with one output token; None without such rows."""
    one = column(older.figures, "output_tokens") == 1
    values = judged.difference_ms[one & np.isfinite(judged.difference_ms)]
    if not len(values):
        return None
    low, high = np.percentile(values, [5, 95])
    return Bias(
        rows=len(values),
        negative=int((values < 0).sum()),
        median_ms=float(np.median(values)),
        median_interval=interval(values),
        p5_ms=float(low),
        p95_ms=float(high),
    )


def step_rate(older: OlderResults, judged: Judged) -> tuple[float, Interval | None] | None:
    """Median ms a decode step of the valid rows, and its 95 % interval. Steps, not tokens."""
    tokens, decode = column(older.figures, "output_tokens"), column(older.figures, "T_LLM_decode")
    rows = judged.valid & (tokens >= 2)
    if not rows.any():
        return None
    rates = decode[rows] / (tokens[rows] - 1)
    return float(np.median(rates)), interval(rates)


def _findings(
    older: OlderResults, judged: Judged, fencepost: Fencepost | None, bias: Bias | None
) -> tuple[Doubt, ...]:
    found = (
        _no_subtraction(older, judged),
        _per_token(fencepost),
        _biased(bias),
        _repeated_ids(older),
    )
    return tuple(doubt for doubt in found if doubt is not None)


def _no_subtraction(older: OlderResults, judged: Judged) -> Doubt | None:
    decode = column(older.figures, "T_LLM_decode")
    known = np.isfinite(decode + judged.difference_ms)
    clamped = np.maximum(judged.difference_ms, 0)
    away = int((np.abs(decode - clamped) > ROUNDING_MS)[known].sum())
    if not away:
        return None
    return Doubt(
        code="decode_not_the_difference",
        message="decode is not the total less vision less prefill",
        evidence=f"it differs by more than {ROUNDING_MS} ms in {away} of {int(known.sum())} rows",
        remedy="check the column mapping, or how those rows were made: where decode was timed "
        "by itself, a negative difference does not condemn it",
    )


def _per_token(fencepost: Fencepost | None) -> Doubt | None:
    if fencepost is None or fencepost.divisor != "tokens":
        return None
    first = fencepost.by_length[0]
    return Doubt(
        code="per_token_divides_by_n",
        message="per-token decode divides the time of N − 1 steps by N tokens",
        evidence=f"T_decode_per_token × output_tokens = T_LLM_decode in every row; at "
        f"{first.output_tokens} tokens it reads {first.per_token_ms:.2f} ms where a step takes "
        f"{first.per_step_ms:.2f} ms",
        remedy="divide by output_tokens − 1; the rise toward long outputs is no cache growth",
    )


def _biased(bias: Bias | None) -> Doubt | None:
    if bias is None:
        return None
    sign = "too high" if bias.median_ms > 0 else "too low"
    return Doubt(
        code="survivors_biased",
        message=f"surviving decode figures carry the same error: {abs(bias.median_ms):.2f} ms "
        f"{sign} at the median",
        evidence=f"{bias.rows} rows with one output token have no decode, yet the difference "
        f"reads {bias.p5_ms:.2f} to {bias.p95_ms:.2f} ms (5 % to 95 %)",
        remedy="capture the same samples and run the audit with --against to see each row's error",
    )


def _repeated_ids(older: OlderResults) -> Doubt | None:
    ids = older.figures["sample_id"]
    repeated = int(ids.duplicated().sum())
    if not repeated:
        return None
    return Doubt(
        code="repeated_sample_ids",
        message="several rows share a sample id",
        evidence=f"{repeated} of {len(ids)} rows repeat an earlier id",
        remedy="nothing to do for this audit; --against leaves such ids out",
    )


def cleaned_rows(
    older: OlderResults, judged: Judged, *, estimate: bool = False
) -> list[dict[str, Any]]:
    """The file's rows, untouched, with the audit's columns behind them.

    `valid`; `invalid_reasons`; `T_LLM_decode_unclamped` (every row); `T_LLM_decode_negative`
    (the unclamped difference where it is negative, null elsewhere). With `estimate`, for invalid
    rows that did decode: `T_LLM_decode_estimated` = steps × the valid rows' rate, its 95 % bounds
    and the flag `T_LLM_decode_is_estimate`. No estimate is given where there is no step.
    """
    rate = step_rate(older, judged) if estimate else None
    tokens = column(older.figures, "output_tokens")
    rows = []
    for i, record in enumerate(older.records):
        difference = _number_or_none(judged.difference_ms[i])
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


def _number_or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
