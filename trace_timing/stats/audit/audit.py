"""Audit labels made by wall-clock subtraction.

Such experiments time the whole, vision and prefill in separate forward passes and write decode as
`max(0, T_total − T_vision_total − T_LLM_prefill)`. The three terms come from different runs, so
their noise adds up in the difference; where that is negative, the clamp hides it. Each row is
judged by itself; nothing is deleted or replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trace_timing.arrays import BoolArray
from trace_timing.records.findings import FigureWarning
from trace_timing.stats.audit.against_capture import Against
from trace_timing.stats.audit.read_results import OlderResults
from trace_timing.stats.audit.row_validity import (
    REASONS,
    ROUNDING_MS,
    Judged,
    column,
    judge,
    number_or_none,
)
from trace_timing.stats.audit.step_count import Fencepost, fit_fencepost, step_rate
from trace_timing.stats.methods.intervals import Interval, median_interval


@dataclass(frozen=True, kw_only=True)
class NegativeRow:
    """One row whose vision and prefill exceed its total, with the arithmetic (ms)."""

    row: int
    sample_id: str
    output_tokens: int
    total_ms: float
    vision_ms: float
    prefill_ms: float
    difference_ms: float
    recorded_ms: float


@dataclass(frozen=True, kw_only=True)
class AuditedRow:
    """One row with its reasons and figures (ms); figures that a row lacks are None."""

    sample_id: str
    output_tokens: int | None
    #: Unclamped: total less vision less prefill.
    difference_ms: float | None
    recorded_ms: float | None
    valid: bool
    reasons: tuple[str, ...]


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
    #: Median of the negative differences, unclamped; None where there is none.
    negative_mean_ms: float | None
    negative_min_ms: float | None
    negative_max_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Bias:
    """The subtraction's decode figure on rows with one output token, which have no decode.

    A correct method would give the time of sampling and the rest: a few ms, never below zero.
    """

    rows: int
    negative: int
    median_ms: float
    median_interval: Interval | None
    p5_ms: float
    p95_ms: float


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """The audit of one file. Times in ms; `_frac` of all rows."""

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
    #: Median ms a decode step of valid rows; None where no valid row has a step.
    step_ms: float | None
    step_interval: Interval | None
    findings: tuple[FigureWarning, ...]
    #: Every row, in the file's order.
    judged: tuple[AuditedRow, ...]
    against: Against | None = None


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
        judged=_every_row(older, judged),
        against=against,
    )


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


def _every_row(older: OlderResults, judged: Judged) -> tuple[AuditedRow, ...]:
    tokens = column(older.figures, "output_tokens")
    recorded = column(older.figures, "T_LLM_decode")
    return tuple(
        AuditedRow(
            sample_id=str(sample_id),
            output_tokens=int(tokens[i]) if np.isfinite(tokens[i]) else None,
            difference_ms=number_or_none(judged.difference_ms[i]),
            recorded_ms=number_or_none(recorded[i]),
            valid=bool(judged.valid[i]),
            reasons=judged.reasons[i],
        )
        for i, sample_id in enumerate(older.figures["sample_id"])
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


def bias_at_one_token(older: OlderResults, judged: Judged) -> Bias | None:
    """The bias by the rows with one output token; None without such rows."""
    one = column(older.figures, "output_tokens") == 1
    values = judged.difference_ms[one & np.isfinite(judged.difference_ms)]
    if not len(values):
        return None
    low, high = np.percentile(values, [5, 95])
    return Bias(
        rows=len(values),
        negative=int((values < 0).sum()),
        median_ms=float(np.median(values)),
        median_interval=median_interval(values),
        p5_ms=float(low),
        p95_ms=float(high),
    )


def _findings(
    older: OlderResults, judged: Judged, fencepost: Fencepost | None, bias: Bias | None
) -> tuple[FigureWarning, ...]:
    warnings = (
        _no_subtraction(older, judged),
        _per_token(fencepost),
        _biased(bias),
        _repeated_ids(older),
    )
    return tuple(warning for warning in warnings if warning is not None)


def _no_subtraction(older: OlderResults, judged: Judged) -> FigureWarning | None:
    """A warning where decode is not the difference of the other columns."""
    decode = column(older.figures, "T_LLM_decode")
    known = np.isfinite(decode + judged.difference_ms)
    clamped = np.maximum(judged.difference_ms, 0)
    away = int((np.abs(decode - clamped) > ROUNDING_MS)[known].sum())
    if not away:
        return None
    return FigureWarning(
        code="decode_not_the_difference",
        message="decode is not the total less vision less prefill",
        evidence=f"it differs by more than {ROUNDING_MS} ms in {away} of {int(known.sum())} rows",
        remedy="check the column mapping, or how those rows were made: where decode was timed "
        "by itself, a negative difference does not condemn it",
    )


def _per_token(fencepost: Fencepost | None) -> FigureWarning | None:
    """A warning where per-token decode divides by N tokens instead of N − 1 steps."""
    if fencepost is None or fencepost.divisor != "tokens":
        return None
    first = fencepost.by_length[0]
    return FigureWarning(
        code="per_token_divides_by_n",
        message="per-token decode divides the time of N − 1 steps by N tokens",
        evidence=f"T_decode_per_token × output_tokens = T_LLM_decode in every row; at "
        f"{first.output_tokens} tokens it reads {first.per_token_ms:.2f} ms where a step takes "
        f"{first.per_step_ms:.2f} ms",
        remedy="divide by output_tokens − 1; the rise toward long outputs is no cache growth",
    )


def _biased(bias: Bias | None) -> FigureWarning | None:
    """A warning where rows without decode show that the subtraction is biased."""
    if bias is None:
        return None
    sign = "too high" if bias.median_ms > 0 else "too low"
    return FigureWarning(
        code="survivors_biased",
        message=f"valid decode figures have the same error: {abs(bias.median_ms):.2f} ms "
        f"{sign} at the median",
        evidence=f"{bias.rows} rows with one output token have no decode, yet the difference "
        f"reads {bias.p5_ms:.2f} to {bias.p95_ms:.2f} ms (5 % to 95 %); sampling and the rest, "
        "which it holds too, take some ms and are never below 0",
        remedy="capture the same samples and run the audit with --against to see each row's error",
    )


def _repeated_ids(older: OlderResults) -> FigureWarning | None:
    ids = older.figures["sample_id"]
    repeated = int(ids.duplicated().sum())
    if not repeated:
        return None
    return FigureWarning(
        code="repeated_sample_ids",
        message="several rows share a sample id",
        evidence=f"{repeated} of {len(ids)} rows repeat an earlier id",
        remedy="none for this audit; --against leaves such ids out",
    )
