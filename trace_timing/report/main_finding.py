"""The main finding: whether host or GPU limits the longest stage, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trace_timing.report.findings import (
    DEVICE_BOUND_BUSY_FRAC,
    HOST_BOUND_BUSY_FRAC,
    ms,
    percent,
)
from trace_timing.report.latency_rows import LatencyRow, all_recorded, latency_rows
from trace_timing.report.model import ReportData
from trace_timing.schema import SAMPLE_PARTS
from trace_timing.stages import Stage

if TYPE_CHECKING:
    import pandas as pd

Limit = Literal["host", "gpu", "both", "unknown"]
LIMITS: dict[Limit, str] = {"host": "host", "gpu": "GPU", "both": "both", "unknown": ""}
#: Verdicts on why the GPU waits for the host; the others are about the GPU's own work.
_HOST_CODES = ("expert_sync_loop", "sync_bound", "allocator", "host_bound")
_FASTER_GPU = (
    "less or cheaper work for the GPU: a smaller type, a faster attention, fewer image tokens; "
    "the page Kernels names what takes the time"
)


@dataclass(frozen=True, kw_only=True)
class MainFinding:
    """What bounds the longest stage, in a sentence, and what to do about it."""

    limit: Limit
    stage: Stage | None
    #: A few words, shown first: `The host is the limit`.
    headline: str
    evidence: str
    next_step: str


def limit_of(idle_frac: float | None) -> Limit:
    """Whether host or GPU limits a stage, by the share of its time in which the GPU is idle."""
    if idle_frac is None:
        return "unknown"
    busy = 1 - idle_frac
    if busy < HOST_BOUND_BUSY_FRAC:
        return "host"
    return "gpu" if busy >= DEVICE_BOUND_BUSY_FRAC else "both"


def main_finding(data: ReportData) -> MainFinding:
    """The finding on the stage that takes most of the time."""
    parts = [row for row in latency_rows(data) if row.time in SAMPLE_PARTS and row.share_frac]
    named = [row for row in parts if row.time != "T_rest"]
    if not named:
        return _nothing_named()
    longest = max(parts, key=lambda row: row.share_frac or 0)
    limit = limit_of(longest.idle_frac)
    if limit == "unknown" or longest.busy_ms is None:
        return _without_gpu(data, longest)
    return MainFinding(
        limit=limit,
        stage=longest.stage,
        headline={
            "host": "The host is the limit",
            "gpu": "The GPU is the limit",
            "both": "Host and GPU are both the limit",
        }[limit],
        evidence=_evidence(data, longest),
        next_step=_next_step(data, longest, limit),
    )


def _nothing_named() -> MainFinding:
    """The finding where no stage was recognised."""
    return MainFinding(
        limit="unknown",
        stage=None,
        headline="No stage is known",
        evidence="The trace holds no range that stands for a stage, so its time cannot be divided.",
        next_step="name the ranges with --stages FILE, or record with trace-timing capture",
    )


def _without_gpu(data: ReportData, longest: LatencyRow) -> MainFinding:
    """The finding where the GPU's work in the longest stage is not known."""
    takes = f"{longest.label} takes the largest part ({percent(longest.share_frac)})"
    on_cpu = set(data.samples["device"].dropna()) == {"CPU"}
    if on_cpu:
        return MainFinding(
            limit="unknown",
            stage=longest.stage,
            headline="The model ran on the CPU",
            evidence=f"{takes}; there is no GPU to wait for.",
            next_step="to time a GPU, capture on a machine that has one",
        )
    return MainFinding(
        limit="unknown",
        stage=longest.stage,
        headline="Host or GPU: cannot tell",
        evidence=f"{takes}; what was recorded does not tell how much of it the GPU works.",
        next_step="record with CPU and CUDA activities on, as trace-timing capture does",
    )


def _evidence(data: ReportData, row: LatencyRow) -> str:
    """How much of the stage (of decode: of a step) the GPU works, and the stage's share."""
    name, time, busy = row.label.lower(), row.ms, row.busy_ms
    steps = data.samples.dropna(subset=["T_decode_per_token_ms", "T_decode_per_token_busy_ms"])
    if row.time == "T_LLM_decode" and len(steps):
        name = "a decode step"
        time = float(steps["T_decode_per_token_ms"].median())
        busy = float(steps["T_decode_per_token_busy_ms"].median())
    recorded = " while recorded" if all_recorded(data) else ""
    share = "" if row.share_frac is None else f", and {row.label.lower()} is "
    whole = "all samples' time" if len(data.samples) > 1 else "the time"
    share += "" if row.share_frac is None else f"{percent(row.share_frac)} of {whole}"
    return (
        f"In {name} the GPU works {ms(busy)} of {ms(time)}{recorded} "
        f"({percent(None if busy is None else busy / time)}){share}."
    )


def _next_step(data: ReportData, row: LatencyRow, limit: Limit) -> str:
    """The remedy of a verdict on the stage that fits the limit, else a general one."""
    verdicts = data.verdicts
    if verdicts is not None and len(verdicts):
        if limit == "gpu":
            verdicts = verdicts[~verdicts["code"].isin(_HOST_CODES)]
        if remedy := shared_remedy(row, verdicts, data.recorded):
            return remedy
    if limit == "gpu":
        return _FASTER_GPU
    return "the page Why tells what the GPU waits for"


#: Time of the sample table → the stages whose verdicts apply to it, the largest first.
_STAGES = {
    "T_vision_total": ("vision_encoder", "projector", "vision"),
    "T_LLM_prefill": ("prefill",),
    "T_LLM_decode": ("decode",),
    "T_sampling": ("sampling",),
    "T_rest": ("mixed", "draft", "text_encoder", "other"),
}
#: A verdict counts for a stage if at least this share of the runs has it.
LEAST_RUNS_FRAC = 0.5
_RUN = ["sample_id", "repeat", "rank"]


def shared_remedy(row: LatencyRow, verdicts: pd.DataFrame, recorded: pd.DataFrame) -> str | None:
    """The remedy of the first verdict on a time's stages that enough of the runs share.

    Args:
        verdicts: schema.VERDICTS of all recorded runs.
        recorded: the rows of schema.RUNS that have a trace.
    Returns:
        The remedy given for the longest run with that verdict; None if no verdict is shared.
    """
    least = LEAST_RUNS_FRAC * max(len(recorded), 1)
    for stage in _STAGES.get(row.time, ()):
        for _, alike in verdicts[verdicts["stage"] == stage].groupby("code", sort=False):
            if len(alike[_RUN].drop_duplicates()) >= least:
                return str(_longest(alike, recorded)["remedy"])
    return None


def _longest(verdicts: pd.DataFrame, recorded: pd.DataFrame) -> pd.Series:
    """The verdict of the longest run."""
    joined = verdicts.merge(recorded[[*_RUN, "T_total_ms"]], on=_RUN, how="left")
    return joined.sort_values("T_total_ms", kind="stable", na_position="first").iloc[-1]
