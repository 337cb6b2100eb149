"""Noise floor, growth and outliers in a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trace_timing.report.findings import percent, sentence
from trace_timing.stats.capture.repeats import TOTAL, controls_for
from trace_timing.stats.capture.statistics import Statistics

#: Half-width for which the number of controls is given, and numbers whose half-width is given.
_WANTED, _NUMBERS = 0.05, (3, 10, 30)
_PER = {"input_tokens": "an input token"}


def statistics_lines(statistics: Statistics) -> list[str]:
    """A sentence each on noise, repeats, growth and outliers, as far as they are known."""
    rows = [fit.row() for fit in statistics.scaling]
    candidates = [
        _noise(statistics),
        _repeats(statistics),
        _growth(rows),
        step_growth(rows),
        _outliers(statistics),
    ]
    return [line for line in candidates if line]


def _noise(statistics: Statistics) -> str:
    floors = {floor.figure: floor for floor in statistics.noise_floor}
    if "total" not in floors:
        return (
            "Noise floor unknown: no input was run three times alike; record with --repeats 3 or "
            "--control 3."
        )
    total, decode = floors["total"], floors.get("decode")
    more = f", {percent(decode.frac)} in decode" if decode else ""
    return (
        f"Noise floor: {total.of} of one input differ by {percent(total.frac)} in total{more} "
        f"(MAD ÷ median, {total.samples} sample{'' if total.samples == 1 else 's'}); smaller "
        "differences are noise."
    )


def _repeats(statistics: Statistics) -> str:
    """How precisely some numbers of controls give a sample's total, and how many are needed."""
    total = next((one for one in statistics.repeats if one.time == TOTAL), None)
    if total is None:
        return ""
    known = ", ".join(f"{k} give ± {percent(total.half_widths[k])}" for k in _NUMBERS)
    wanted = controls_for(total, _WANTED)
    more = "more than 30 are" if wanted is None else f"{wanted} {'is' if wanted == 1 else 'are'}"
    return (
        f"How many controls a sample: of its total {known} (95 %, on average); {more} needed for "
        f"± {percent(_WANTED)}."
    )


def _growth(rows: Sequence[Mapping[str, Any]]) -> str:
    """How prefill's GPU work grows with the prompt."""
    parts = [
        _slope(row)
        for row in rows
        if (row["of"], row["against"], row["time"]) == ("prefill", "input_tokens", "busy")
    ]
    return f"GPU busy time with size: {'; '.join(parts)}." if parts else ""


def _slope(row: Mapping[str, Any]) -> str:
    per = f"{row['slope_us']:+.2f} µs {_PER[row['against']]}"
    if row["slope_lo_us"] is None:
        return f"{row['of']} {per} ({row['points']} points, too few for an interval)"
    return f"{row['of']} {per} ({_within(row)}{', no growth shown' if _holds_0(row) else ''})"


def step_growth(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether a decode step grows with the cache: its latency (from controls) and GPU busy time.

    Args:
        rows: of stats.capture.statistics.ScalingFit.
    """
    by_time = {
        row["time"]: row
        for row in rows
        if (row["of"], row["against"]) == ("decode step", "position")
    }
    latency, busy = by_time.get("latency"), by_time.get("busy")
    clauses = [*_latency_growth(latency), *_busy_growth(busy)]
    if len(clauses) == 2 and latency and busy and _has_interval(latency) and not _holds_0(latency):
        low, high = latency["slope_lo_us"], latency["slope_hi_us"]
        clauses.append("the two agree" if low <= busy["slope_us"] <= high else "the two differ")
    return sentence("; ".join(clauses)) if clauses else ""


def _latency_growth(row: Mapping[str, Any] | None) -> Iterator[str]:
    if row is None:
        return
    slope = f"{row['slope_us']:+.2f} µs a position"
    if not _has_interval(row):
        yield f"a decode step's latency changes by {slope}, by too few controls for an interval"
    elif _holds_0(row):
        yield f"a decode step's latency shows no growth with the cache ({slope}, {_ends(row)})"
    else:
        grows = "grows" if row["slope_us"] > 0 else "falls"
        yield f"a decode step's latency {grows} with the cache by {slope} {_ends(row)}"


def _busy_growth(row: Mapping[str, Any] | None) -> Iterator[str]:
    if row is None:
        return
    slope = f"{row['slope_us']:+.2f} µs a position"
    if not _has_interval(row):
        yield f"its GPU busy time changes by {slope}, in too few steps for an interval"
    elif _holds_0(row):
        yield f"its GPU busy time shows none ({slope}, {_within(row)})"
    else:
        grows = "grows" if row["slope_us"] > 0 else "falls"
        yield f"its GPU busy time {grows} by {slope} {_ends(row)} in {row['points']:,} steps"


def _has_interval(row: Mapping[str, Any]) -> bool:
    return row["slope_lo_us"] is not None


def _holds_0(row: Mapping[str, Any]) -> bool:
    """Whether the slope's interval contains 0."""
    return bool(row["slope_lo_us"] <= 0 <= row["slope_hi_us"])


def _ends(row: Mapping[str, Any]) -> str:
    return f"[{row['slope_lo_us']:.2f}, {row['slope_hi_us']:.2f}]"


def _within(row: Mapping[str, Any]) -> str:
    return f"{_ends(row)}, {row['points']} points"


def _outliers(statistics: Statistics) -> str:
    outliers = statistics.outliers
    if not outliers:
        return ""
    explained = sum(bool(outlier.causes) for outlier in outliers)
    first = outliers[0]
    return (
        f"{len(outliers)} outlier{'' if len(outliers) == 1 else 's'}, {explained} with a known "
        f"cause; first: {first.sample_id}, {first.time} {first.ms:.2f} against "
        f"{first.median_ms:.2f}"
        f"{' (' + ', '.join(first.causes) + ')' if first.causes else ''}."
    )
