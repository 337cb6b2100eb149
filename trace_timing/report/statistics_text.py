"""Noise floor, growth and outliers in a sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from trace_timing.report.sentences import percent
from trace_timing.stats.statistics import ScalingFit, Statistics

_PER = {"input_tokens": "an input token", "position": "a position"}


def statistics_lines(statistics: Statistics) -> list[str]:
    """A sentence each on the noise floor, growth and outliers, where there is one to say."""
    said = [_noise(statistics), _growth(statistics.scaling), _outliers(statistics)]
    return [line for line in said if line]


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


def _growth(fits: Sequence[ScalingFit]) -> str:
    parts = [
        _slope(fit)
        for of, against in (("prefill", "input_tokens"), ("decode step", "position"))
        for fit in fits
        if (fit.of, fit.against, fit.kind) == (of, against, "busy")
    ]
    return f"GPU busy time with size: {'; '.join(parts)}." if parts else ""


def _slope(fit: ScalingFit) -> str:
    row, around = fit.row(), fit.line.slope_interval
    per = f"{row['slope_us']:+.2f} µs {_PER[fit.against]}"
    if around is None:
        return f"{fit.of} {per} ({fit.line.points} points, too few for an interval)"
    within = f"[{row['slope_lo_us']:.2f}, {row['slope_hi_us']:.2f}], {fit.line.points} points"
    shown = ", no growth shown" if 0 in around else ""
    return f"{fit.of} {per} ({within}{shown})"


def _outliers(statistics: Statistics) -> str:
    found = statistics.outliers
    if not found:
        return ""
    explained = sum(bool(outlier.causes) for outlier in found)
    first = found[0]
    return (
        f"{len(found)} outlier{'' if len(found) == 1 else 's'}, {explained} with a known cause; "
        f"first: {first.sample_id}, {first.time} {first.ms:.2f} against {first.median_ms:.2f}"
        f"{' (' + ', '.join(first.causes) + ')' if first.causes else ''}."
    )
