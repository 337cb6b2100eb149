"""Latency, interval, GPU busy time and idle share of each stage, as medians over samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trace_timing.arrays import FloatArray
from trace_timing.memoize import cached_per_object
from trace_timing.report.model import ReportData
from trace_timing.stages import Stage
from trace_timing.stats.latency.busy_times import busy_ms

if TYPE_CHECKING:
    import pandas as pd

#: Time of the sample table → its name for people, and the stage whose colour it has.
TIMES: Mapping[str, tuple[str, Stage | None]] = {
    "T_vision_encoder": ("Vision encoder", "vision_encoder"),
    "T_projector": ("Projector", "projector"),
    "T_vision_total": ("Vision", "vision"),
    "T_LLM_prefill": ("Prefill", "prefill"),
    "T_LLM_decode": ("Decode", "decode"),
    "T_sampling": ("Sampling", "sampling"),
    "T_rest": ("Rest", "other"),
    "T_total": ("Total", None),
}
#: Time → the times that it is the sum of.
_PARTS_OF = {"T_vision_total": ("T_vision_encoder", "T_projector")}
SOURCES = {
    "control": "measured without the profiler",
    "scaled": "those of recorded runs, scaled by other samples' controls",
    "attached": "measured with the profiler attached (too long)",
    "recorded": "those of recorded runs (too long by what recording cost)",
}


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """One time over the samples that have it: medians, in ms."""

    time: str
    label: str
    stage: Stage | None
    samples: int
    ms: float
    #: Median of half the 95 % interval ÷ the time; None where no sample has one.
    half_frac: float | None
    #: Medians of the ends of the samples' intervals; None where no sample has one.
    low_ms: float | None = None
    high_ms: float | None = None
    busy_ms: float | None
    #: True if some sample's busy time is an estimate from the steps that were recorded.
    busy_is_estimate: bool
    #: 1 − busy ÷ latency, both summed over the samples; None where either is not known.
    idle_frac: float | None
    #: Share of the totals of all samples, summed.
    share_frac: float | None
    #: Decode only: median time of a step.
    per_token_ms: float | None = None


@cached_per_object
def latency_rows(data: ReportData) -> list[LatencyRow]:
    """One row per time that some sample has; parts of the vision stage only if both are there."""
    timed = _with_interval(data.samples)
    rows = [row for time in TIMES if (row := _row(data.samples, timed, time))]
    present = {row.time for row in rows}
    incomplete = {t for t, parts in _PARTS_OF.items() if not present.issuperset(parts)}
    # A single part would repeat the row of the whole.
    single = {p for t in incomplete & present for p in _PARTS_OF[t]}
    return [row for row in rows if row.time not in single]


def _row(samples: pd.DataFrame, timed: pd.DataFrame, time: str) -> LatencyRow | None:
    """The row of one time; None if no sample has it. `timed`: the samples with intervals."""
    known = samples[samples[f"{time}_ms"].notna()]
    if known.empty:
        return None
    ms = known[f"{time}_ms"].astype(float)
    total = float(samples["T_total_ms"].astype(float).sum())
    label, stage = TIMES[time]
    busy, estimated = busy_ms(known, time)
    return LatencyRow(
        time=time,
        label=label,
        stage=stage,
        samples=len(known),
        ms=float(ms.median()),
        half_frac=_half_frac(timed, time),
        low_ms=_median(timed[f"{time}_lo_ms"]),
        high_ms=_median(timed[f"{time}_hi_ms"]),
        busy_ms=_median(busy),
        busy_is_estimate=bool(estimated.any()),
        idle_frac=_idle(ms, busy),
        share_frac=float(ms.sum()) / total if total else None,
        per_token_ms=_median(known["T_decode_per_token_ms"]) if time == "T_LLM_decode" else None,
    )


def half_frac(samples: pd.DataFrame, time: str) -> float | None:
    """Median over samples of half the interval ÷ the time, of those that have an interval."""
    return _half_frac(_with_interval(samples), time)


def _half_frac(with_interval: pd.DataFrame, time: str) -> float | None:
    low, ms, high = (
        with_interval[f"{time}{end}"].to_numpy(float) for end in ("_lo_ms", "_ms", "_hi_ms")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return _nan_median((high - low) / 2 / ms)


def _with_interval(samples: pd.DataFrame) -> pd.DataFrame:
    """Samples whose times can have intervals: recorded times have none."""
    return samples[samples["latency_source"] != "recorded"]


def _nan_median(values: FloatArray) -> float | None:
    """Median of the values that are not NaN; None if all are."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _idle(latency_ms: pd.Series, busy: pd.Series) -> float | None:
    """1 − busy ÷ latency, summed over the samples whose busy time is known."""
    latency = float(latency_ms[busy.notna()].sum())
    return 1 - float(busy.sum()) / latency if latency else None


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.astype(float).median()) if len(known) else None


def all_recorded(data: ReportData) -> bool:
    """Whether all times are those of recorded runs, so that there is no latency."""
    return bool((data.samples["latency_source"] == "recorded").all())


def source_sentence(data: ReportData) -> str:
    """Where the latencies come from, and from how many runs."""
    samples = data.samples
    counts = samples["latency_source"].value_counts()
    if counts.empty:
        return ""
    sources = []
    for source in (s for s in SOURCES if s in counts):
        mine = samples[samples["latency_source"] == source]
        of = "" if len(counts) == 1 else f" ({counts[source]} of {len(samples)} samples)"
        sources.append(f"{SOURCES[source]}{_runs(mine)}{of}")
    return f"{'Times' if all_recorded(data) else 'Latencies'} are {'; '.join(sources)}."


def _runs(samples: pd.DataFrame) -> str:
    """`, 5 runs a sample`; empty without controls."""
    controls = samples["controls"].astype(int)
    if not controls.max():
        return ""
    least, most = int(controls.min()), int(controls.max())
    number = str(most) if least == most else f"{least} to {most}"
    return f", {number} run{'' if most == 1 else 's'} a sample"
