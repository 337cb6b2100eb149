"""Sentences on the main results, each with its figures, and how figures are written in text."""

from __future__ import annotations

from trace_timing.report.latency_rows import LatencyRow, half_frac, latency_rows, source_sentence
from trace_timing.report.model import ReportData
from trace_timing.schema import SAMPLE_PARTS

#: Shown in place of a figure that is not known.
CANNOT_TELL = "cannot tell"
#: Warnings by which the run may have decode steps that no range was recognised as.
_DECODE_MISSED = frozenset(
    ("pattern_fits_nothing", "pattern_fits_other_stage", "step_missing", "forward_without_range")
)
#: A stage that is busy for less than the first share of its time is called host-bound, for more
#: than the second device-bound.
HOST_BOUND_BUSY_FRAC = 0.5
DEVICE_BOUND_BUSY_FRAC = 0.9


def ms(value: float | None) -> str:
    """Milliseconds with three significant digits, `n/a` for none."""
    if value is None or value != value:
        return "n/a"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} ms"


def about(value: float | None, *, estimated: bool) -> str:
    """Milliseconds, with `≈` before an estimate."""
    return f"≈ {ms(value)}" if estimated and value is not None else ms(value)


def percent(value: float | None) -> str:
    """A share as whole per cent, one decimal below 10 %."""
    if value is None or value != value:
        return "n/a"
    return f"{value:.1%}" if 0 < abs(value) < 0.0995 else f"{value:.0%}"


def sentence(text: str) -> str:
    """The text with a capital letter first and one full stop last."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def findings(data: ReportData) -> list[str]:
    """The report's sentences: where the time goes, what bounds it, what a token costs."""
    rows = latency_rows(data)
    candidates = [
        clock_sentence(data),
        source_sentence(data),
        _largest(data, rows),
        _bound(data, rows),
        _token(data, rows),
        _recorded_steps(data),
        _stretch(data),
    ]
    return [text for text in candidates if text]


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

    Above 100 % it reads `± >100%`: such an interval gives an order of magnitude at most.
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
    """The median total, and the part of it that takes most."""
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
        f"with {percent(top.share_frac)} of {'it' if one else 'the time of all'}."
    )


def _has_stages(rows: list[LatencyRow]) -> bool:
    """Whether anything but the rest has a time."""
    return any(row.time in SAMPLE_PARTS and row.time != "T_rest" for row in rows)


def _bound(data: ReportData, rows: list[LatencyRow]) -> str:
    """Whether host or device bounds the runs; empty where idle time is not known."""
    total = next((row for row in rows if row.time == "T_total"), None)
    if total is None or total.idle_frac is None:
        return ""
    idle = total.idle_frac
    host_bound = [
        row.label.lower()
        for row in rows
        if row.time in SAMPLE_PARTS
        and row.busy_ms
        and row.idle_frac is not None
        and row.idle_frac > 1 - HOST_BOUND_BUSY_FRAC
    ]
    if idle > 1 - HOST_BOUND_BUSY_FRAC and not _has_stages(rows):
        return f"The GPU is idle {percent(idle)} of the time."
    if host_bound and idle > 1 - HOST_BOUND_BUSY_FRAC:
        return (
            f"The GPU is idle {percent(idle)} of the time: these runs are host-bound "
            f"({', '.join(host_bound)}), so a stage is as long as the host took to launch the "
            "work; busy says what the GPU did of it."
        )
    if idle < 1 - DEVICE_BOUND_BUSY_FRAC:
        return f"The GPU is busy {percent(1 - idle)} of the time: stages are the device's own time."
    return (
        f"The GPU is idle {percent(idle)} of the time; where a stage is host-bound"
        f"{' (' + ', '.join(host_bound) + ')' if host_bound else ''} it includes the host's time."
    )


def _token(data: ReportData, rows: list[LatencyRow]) -> str:
    """The time of a decode step, or why there is none."""
    if not _has_stages(rows):
        return ""
    steps = data.samples[data.samples["T_decode_per_token_ms"].notna()]
    if steps.empty:
        if {warning.code for warning in data.warnings} & _DECODE_MISSED:
            return "No range was read as a decode step, which the warnings doubt."
        return "No sample has a decode step: one output token comes from prefill alone."
    step = float(steps["T_decode_per_token_ms"].astype(float).median())
    interval = plus_minus(half_frac(steps, "T_decode_per_token"))
    busy = steps["T_decode_per_token_busy_ms"].dropna().astype(float)
    of_it = f", of which the GPU is busy {ms(float(busy.median()))}" if len(busy) else ""
    return f"A decode step takes {ms(step)}{' ' + interval if interval else ''}{of_it}."


def _recorded_steps(data: ReportData) -> str:
    """How many steps were recorded, where not all were."""
    known = data.recorded.dropna(subset=["recorded_steps", "decode_steps"])
    partial = known[known["recorded_steps"] < known["decode_steps"]]
    if partial.empty:
        return ""
    steps, recorded = (int(partial[name].median()) for name in ("decode_steps", "recorded_steps"))
    runs = len(data.recorded)
    of = "" if len(partial) == runs else f" (in {len(partial)} of {runs} runs)"
    return (
        f"Of {steps:,} decode steps {recorded:,} were recorded{of}, in stretches over the run; "
        "busy times with ≈ are estimated from these. Latencies are of all steps."
    )


def _stretch(data: ReportData) -> str:
    """How much longer recording made the runs."""
    return str((data.summary.get("recording_effect") or {}).get("sentence") or "")
