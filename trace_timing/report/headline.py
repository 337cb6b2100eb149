"""The one finding that matters, and which warning is the worst."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trace_timing.report.findings import DEVICE_BOUND_BUSY_FRAC, HOST_BOUND_BUSY_FRAC, percent
from trace_timing.report.latency_rows import LatencyRow
from trace_timing.report.model import ReportData
from trace_timing.report.trust import WarningGroup
from trace_timing.schema import SAMPLE_PARTS

if TYPE_CHECKING:
    import pandas as pd

#: Times of the sample table → the stages whose verdicts speak of them, the largest first.
_STAGES = {
    "T_vision_total": ("vision_encoder", "projector", "vision"),
    "T_LLM_prefill": ("prefill",),
    "T_LLM_decode": ("decode",),
    "T_sampling": ("sampling",),
    "T_rest": ("mixed", "draft", "text_encoder", "other"),
}
#: A verdict speaks for a stage where at least this share of the runs has it.
LEAST_RUNS_FRAC = 0.5
_RUN = ["sample_id", "repeat", "rank"]

#: A defect, or a mistake in what was asked, which others are consequences of.
_FIRST = ("check_broken", "pattern_fits_nothing", "pattern_fits_other_stage")
#: Codes that leave no latency to quote, worst first; failed checks of integrity stand before them.
_UNUSABLE = ("no_stage_ranges", "clock_host", "no_control", "controls_attached")


@dataclass(frozen=True)
class Headline:
    """What bounds the largest part of the time, and what would shorten it."""

    sentence: str
    remedy: str


def headline(
    rows: Sequence[LatencyRow], verdicts: pd.DataFrame, recorded: pd.DataFrame
) -> Headline | None:
    """The verdict on the largest part that has one; None where no part has.

    Args:
        rows: of `latency_rows`.
        verdicts: schema.VERDICTS of all recorded runs.
        recorded: the rows of schema.RUNS that have a trace.
    """
    parts = [row for row in rows if row.time in SAMPLE_PARTS and row.share_frac]
    for row in sorted(parts, key=lambda row: -(row.share_frac or 0)):
        for stage in _STAGES.get(row.time, ()):
            if said := _of_stage(row, verdicts[verdicts["stage"] == stage], recorded):
                return said
    return None


def _of_stage(row: LatencyRow, verdicts: pd.DataFrame, recorded: pd.DataFrame) -> Headline | None:
    """The first verdict of a stage that enough of its runs share."""
    runs = max(len(recorded), 1)
    for code, alike in verdicts.groupby("code", sort=False):
        if len(alike[_RUN].drop_duplicates()) < LEAST_RUNS_FRAC * runs:
            continue
        longest = _longest(alike, recorded)
        sentence = _by_latency(row, str(code)) or str(longest["sentence"])
        return Headline(sentence, str(longest["remedy"]))
    return None


def _longest(verdicts: pd.DataFrame, recorded: pd.DataFrame) -> pd.Series:
    """The verdict of the run that took longest."""
    totals = recorded[[*_RUN, "T_total_ms"]]
    joined = verdicts.merge(totals, on=_RUN, how="left")
    return joined.sort_values("T_total_ms", kind="stable", na_position="first").iloc[-1]


def _by_latency(row: LatencyRow, code: str) -> str:
    """The sentence by the figures of the table, which profiling does not stretch; or nothing."""
    if row.idle_frac is None or row.time == "T_rest":  # of which the verdict is on a part
        return ""
    subject = f"{row.label}, {percent(row.share_frac)} of the time,"
    idle, busy = percent(row.idle_frac), percent(1 - row.idle_frac)
    if code == "host_bound" and row.idle_frac >= 1 - HOST_BOUND_BUSY_FRAC:
        return f"{subject} is host-bound: the GPU idles {idle} of it, waiting to be given work."
    if code == "device_bound" and row.idle_frac <= 1 - DEVICE_BOUND_BUSY_FRAC:
        return f"{subject} is device-bound: the GPU works {busy} of it."
    if code == "host_bound":
        return f"{subject} is host-bound while it is recorded; unprofiled the GPU works {busy}."
    return ""


def worst_first(groups: Iterable[WarningGroup], data: ReportData) -> list[WarningGroup]:
    """Warnings by how much they take from the figures: a broken check, a failed check of
    integrity, no usable latency, then the others, the most frequent first."""
    traces = data.summary.get("traces") or ()
    failed = {code for trace in traces for code in trace["integrity"]["failed"]}

    def rank(group: WarningGroup) -> tuple[int, int]:
        if group.code in _FIRST:
            return 0, -group.times
        if group.code in failed:
            return 1, -group.times
        if group.code in _UNUSABLE:
            return 2 + _UNUSABLE.index(group.code), -group.times
        return 2 + len(_UNUSABLE), -group.times

    return sorted(groups, key=rank)
