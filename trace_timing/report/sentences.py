"""The few things worth knowing, in words: each sentence carries its figures."""

from __future__ import annotations

from trace_timing.report.model import ReportData
from trace_timing.report.palette import LABELS
from trace_timing.report.rows import StageRow, median_run, stage_rows

#: Where a figure is not known: pages say so in words.
CANNOT_TELL = "cannot tell"
#: Below this share of busy time a stage is called host-bound, above the other device-bound.
HOST_BOUND_BUSY_FRAC = 0.5
DEVICE_BOUND_BUSY_FRAC = 0.9


def ms(value: float | None) -> str:
    """Milliseconds with three significant digits, `n/a` for none."""
    if value is None or value != value:
        return "n/a"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} ms"


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
    rows = stage_rows(data)
    said = [
        _clock(data),
        _largest(data, rows),
        _bound(data, rows),
        _token(rows),
        _observer(data, rows),
    ]
    return [sentence for sentence in said if sentence]


def _clock(data: ReportData) -> str:
    if not data.host_clock:
        return ""
    host = int((data.samples["clock"] == "host").sum())
    return (
        f"clock = host: {host} of {len(data.samples)} runs have no GPU timeline. Their stages are "
        "timed by the host's ranges alone and say nothing about a device."
    )


def _largest(data: ReportData, rows: list[StageRow]) -> str:
    known = [row for row in rows if row.share_frac is not None]
    if not known:
        return "No trace has a stage range, so there are totals and no stages."
    top = max(known, key=lambda row: row.share_frac or 0)
    key = median_run(data.samples)
    total = float(data.samples["T_total_ms"].median())
    one = len(data.samples) == 1
    runs = "The run takes" if one else f"The median of {len(data.samples)} runs takes"
    where = f" (sample {key.sample_id})" if key and not one else ""
    if not _has_stages(rows):
        return f"{runs} {ms(total)}{where}; without stage ranges there is no more to divide it by."
    return (
        f"{runs} {ms(total)}{where}; {LABELS[top.stage].lower()} is the largest part "
        f"with {percent(top.share_frac)} of it."
    )


def _has_stages(rows: list[StageRow]) -> bool:
    return any(row.stage not in ("other", "unattributed") for row in rows)


def _bound(data: ReportData, rows: list[StageRow]) -> str:
    timed = [row for row in rows if row.idle_frac is not None]
    window = sum((row.window_ms or 0) * row.runs for row in timed)
    if not window or (data.samples["clock"] == "host").all():
        return ""
    idle = float(data.stages["idle_ns"].sum()) / float(data.stages["window_ns"].sum())
    bound = [
        LABELS[r.stage].lower()
        for r in timed
        if r.gpu_ops and r.stage != "unattributed" and 1 - (r.idle_frac or 0) < HOST_BOUND_BUSY_FRAC
    ]
    if idle > 1 - HOST_BOUND_BUSY_FRAC and not _has_stages(rows):
        return f"The GPU is idle {percent(idle)} of the time."
    if bound and idle > 1 - HOST_BOUND_BUSY_FRAC:
        return (
            f"The GPU is idle {percent(idle)} of the time: these runs are host-bound "
            f"({', '.join(bound)}), so a window is as long as the host took to launch the work; "
            "busy says what the GPU did of it."
        )
    if idle < 1 - DEVICE_BOUND_BUSY_FRAC:
        return (
            f"The GPU is busy {percent(1 - idle)} of the time: windows are the device's own time."
        )
    return (
        f"The GPU is idle {percent(idle)} of the time; where a stage is host-bound"
        f"{' (' + ', '.join(bound) + ')' if bound else ''} its window includes the host's time."
    )


def _token(rows: list[StageRow]) -> str:
    decode = next((row for row in rows if row.stage == "decode"), None)
    if not _has_stages(rows):
        return ""
    if decode is None or decode.per_token_ms is None:
        return "No run has a decode step: one output token comes from prefill alone."
    busy = decode.per_token_busy_ms
    of_it = f", of which the GPU is busy {ms(busy)}" if busy is not None else ""
    return f"A decode step takes {ms(decode.per_token_ms)} in the median{of_it}."


def _observer(data: ReportData, rows: list[StageRow]) -> str:
    """How much the profiler stretched the runs."""
    judged = data.summary.get("observer_effect") or {}
    if judged.get("sentence"):
        return str(judged["sentence"])
    if not any(row.observer_effect is not None for row in rows):
        return (
            "No unprofiled control was recorded, so these windows include what profiling costs, "
            "by an amount that this report cannot state."
        )
    return ""
