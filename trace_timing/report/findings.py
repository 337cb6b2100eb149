"""The few things worth knowing, in words: each sentence carries its figures."""

from __future__ import annotations

from trace_timing.report.latency_rows import LatencyRow, half_frac, latency_rows, source_sentence
from trace_timing.report.model import ReportData
from trace_timing.schema import SAMPLE_PARTS

#: Where a figure is not known: pages say so in words.
CANNOT_TELL = "cannot tell"
#: Warnings that say that there may be decode steps which no range was read as.
_DECODE_MISSED = frozenset(
    ("pattern_fits_nothing", "pattern_fits_other_stage", "step_missing", "forward_without_range")
)
#: Below this share of busy time a stage is called host-bound, above the other device-bound.
HOST_BOUND_BUSY_FRAC = 0.5
DEVICE_BOUND_BUSY_FRAC = 0.9


def ms(value: float | None) -> str:
    """Milliseconds with three significant digits, `n/a` for none."""
    if value is None or value != value:
        return "n/a"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} ms"


def about(value: float | None, *, estimated: bool) -> str:
    """Milliseconds, `≈` before what is an estimate."""
    return f"≈ {ms(value)}" if estimated and value is not None else ms(value)


def percent(value: float | None) -> str:
    """A share as whole per cent, one decimal below 10 %."""
    if value is None or value != value:
        return "n/a"
    return f"{value:.1%}" if 0 < abs(value) < 0.0995 else f"{value:.0%}"


def sentence(text: str) -> str:
    """Begun with a capital and ended with a full stop."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def findings(data: ReportData) -> list[str]:
    """What the report says first: where the time goes, what bounds it, what a token costs."""
    rows = latency_rows(data)
    said = [
        clock_sentence(data),
        source_sentence(data),
        _largest(data, rows),
        _bound(data, rows),
        _token(data, rows),
        _recorded_part(data),
        _stretch(data),
    ]
    return [sentence for sentence in said if sentence]


def heading(data: ReportData) -> str:
    """What was measured, in a few words."""
    samples, recorded = data.samples["sample_id"].nunique(), len(data.recorded)
    clocks = ", ".join(sorted(set(data.samples["clock"].dropna()))) or "none"
    return (
        f"{samples} sample{'' if samples == 1 else 's'}, {recorded} recorded run"
        f"{'' if recorded == 1 else 's'}, clock = {clocks}; medians over samples"
    )


def plus_minus(half_frac: float | None) -> str:
    """Half the width of an interval as a share: `± 2.1%`; empty where there is none.

    Above 100 % the ends say no more than the order of magnitude; the tables have them.
    """
    if half_frac is None:
        return ""
    return "± >100%" if half_frac > 1 else f"± {percent(half_frac)}"


def clock_sentence(data: ReportData) -> str:
    """Which runs have no GPU timeline; empty where all have one."""
    if not data.host_clock:
        return ""
    host = int((data.recorded["clock"] == "host").sum())
    return (
        f"clock = host: {host} of {len(data.recorded)} runs have no GPU timeline. Their stages are "
        "timed by the host's ranges alone and say nothing about a device."
    )


def _largest(data: ReportData, rows: list[LatencyRow]) -> str:
    parts = [row for row in rows if row.time in SAMPLE_PARTS and row.share_frac]
    total = next((row for row in rows if row.time == "T_total"), None)
    if total is None:
        return "No sample has a total."
    one = len(data.samples) == 1
    takes = "It takes" if one else f"The median of {len(data.samples)} samples takes"
    if not _has_stages(rows):
        return f"{takes} {ms(total.ms)}; without stage ranges there is no more to divide it by."
    top = max(parts, key=lambda row: row.share_frac or 0)
    return (
        f"{takes} {ms(total.ms)}; {top.label.lower()} is the largest part "
        f"with {percent(top.share_frac)} of it."
    )


def _has_stages(rows: list[LatencyRow]) -> bool:
    return any(row.time in SAMPLE_PARTS and row.time != "T_rest" for row in rows)


def _bound(data: ReportData, rows: list[LatencyRow]) -> str:
    total = next((row for row in rows if row.time == "T_total"), None)
    if total is None or total.idle_frac is None:
        return ""
    idle = total.idle_frac
    bound = [
        row.label.lower()
        for row in rows
        if row.time in SAMPLE_PARTS
        and row.busy_ms
        and row.idle_frac is not None
        and row.idle_frac > 1 - HOST_BOUND_BUSY_FRAC
    ]
    if idle > 1 - HOST_BOUND_BUSY_FRAC and not _has_stages(rows):
        return f"The GPU is idle {percent(idle)} of the time."
    if bound and idle > 1 - HOST_BOUND_BUSY_FRAC:
        return (
            f"The GPU is idle {percent(idle)} of the time: these runs are host-bound "
            f"({', '.join(bound)}), so a stage is as long as the host took to launch the work; "
            "busy says what the GPU did of it."
        )
    if idle < 1 - DEVICE_BOUND_BUSY_FRAC:
        return f"The GPU is busy {percent(1 - idle)} of the time: stages are the device's own time."
    return (
        f"The GPU is idle {percent(idle)} of the time; where a stage is host-bound"
        f"{' (' + ', '.join(bound) + ')' if bound else ''} it includes the host's time."
    )


def _token(data: ReportData, rows: list[LatencyRow]) -> str:
    if not _has_stages(rows):
        return ""
    steps = data.samples[data.samples["T_decode_per_token_ms"].notna()]
    if steps.empty:
        doubt = {warning.code for warning in data.warnings} & _DECODE_MISSED
        if doubt:
            return "No range was read as a decode step, which the warnings doubt."
        return "No sample has a decode step: one output token comes from prefill alone."
    step = float(steps["T_decode_per_token_ms"].astype(float).median())
    sure = plus_minus(half_frac(steps, "T_decode_per_token"))
    busy = steps["T_decode_per_token_busy_ms"].dropna().astype(float)
    of_it = f", of which the GPU is busy {ms(float(busy.median()))}" if len(busy) else ""
    return f"A decode step takes {ms(step)}{' ' + sure if sure else ''}{of_it}."


def _recorded_part(data: ReportData) -> str:
    """How many steps were recorded, where not all were."""
    known = data.recorded.dropna(subset=["recorded_steps", "decode_steps"])
    part = known[known["recorded_steps"] < known["decode_steps"]]
    if part.empty:
        return ""
    steps, recorded = (int(part[name].median()) for name in ("decode_steps", "recorded_steps"))
    of = (
        "" if len(part) == len(data.recorded) else f" (in {len(part)} of {len(data.recorded)} runs)"
    )
    return (
        f"Of {steps:,} decode steps {recorded:,} were recorded{of}, in stretches over the run; "
        "busy times with ≈ are estimated from these. Latencies are of all steps."
    )


def _stretch(data: ReportData) -> str:
    """How much recording stretched the runs."""
    return str((data.summary.get("recording_effect") or {}).get("sentence") or "")
