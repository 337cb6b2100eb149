"""Stage rows of the report, as medians over the recorded runs, and the rows of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trace_timing.report.model import ReportData
from trace_timing.stages import STAGES, Stage
from trace_timing.timeline.rows.tables import RunKey
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd

RUN = ["sample_id", "repeat", "rank"]


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """A stage over the recorded runs that have it: medians, and quartiles of its window."""

    stage: Stage
    runs: int
    window_ms: float | None
    q1_ms: float | None
    q3_ms: float | None
    #: Share of the windows of all runs, summed.
    share_frac: float | None
    busy_ms: float | None
    #: Idle ÷ window, both summed over the runs.
    idle_frac: float | None
    gpu_ops: float
    kernel_sum_ms: float | None
    #: True if some run recorded only some steps of the stage: its busy time and ops are estimates.
    is_estimate: bool
    #: Decode only: median over runs of window ÷ steps.
    per_token_ms: float | None = None
    per_token_busy_ms: float | None = None


def stage_rows(data: ReportData) -> list[StageRow]:
    """One row a stage that occurs, in the order of a generate() call."""
    total = data.stages["window_ns"].sum()
    by_stage = dict(tuple(data.stages.groupby("stage", sort=False)))
    return [
        _row(stage, by_stage[stage], float(total), data.recorded)
        for stage in STAGES
        if stage in by_stage
    ]


def _row(stage: Stage, rows: pd.DataFrame, total_ns: float, runs: pd.DataFrame) -> StageRow:
    """The row of one stage, from its rows of all runs; `total_ns` sums every stage's windows."""
    window, known = rows["window_ns"].sum(), rows[rows["idle_ns"].notna()]
    whole = rows["recorded"].astype(bool)
    ops = rows["gpu_ops"].astype(float).where(whole, rows["gpu_ops_estimate"].astype(float))
    busy = rows["busy_ns"].astype(float).where(whole, rows["busy_estimate_ns"].astype(float))
    per_token = per_token_busy = None
    if stage == "decode":
        per_token = _median(runs["T_decode_per_token_ms"])
        per_token_busy = _median(runs["T_decode_per_token_busy_ms"])
    has_idle = len(known) > 0 and known["window_ns"].sum() > 0
    return StageRow(
        stage=stage,
        runs=len(rows),
        window_ms=_median(rows["window_ns"], NS_PER_MS),
        q1_ms=_quantile(rows["window_ns"], 0.25),
        q3_ms=_quantile(rows["window_ns"], 0.75),
        share_frac=float(window) / total_ns if total_ns and window else None,
        busy_ms=_median(busy, NS_PER_MS),
        idle_frac=float(known["idle_ns"].sum()) / float(known["window_ns"].sum())
        if has_idle
        else None,
        gpu_ops=float(ops.median()),
        kernel_sum_ms=_median(rows["kernel_sum_ns"].where(whole), NS_PER_MS),
        is_estimate=not whole.all(),
        per_token_ms=per_token,
        per_token_busy_ms=per_token_busy,
    )


def _median(values: pd.Series, divide_by: float = 1.0) -> float | None:
    known = values.dropna()
    return float(known.astype(float).median()) / divide_by if len(known) else None


def _quantile(values: pd.Series, q: float) -> float | None:
    known = values.dropna()
    return float(known.astype(float).quantile(q)) / NS_PER_MS if len(known) else None


def median_run(runs: pd.DataFrame) -> RunKey | None:
    """The run whose total is the median one (the lower of two), None where no run has a total."""
    known = runs.dropna(subset=["T_total_ms"]).sort_values("T_total_ms", kind="stable")
    if not len(known):
        return None
    return run_key(known.iloc[(len(known) - 1) // 2])


def run_key(row: pd.Series) -> RunKey:
    """Key of a row of any table; a missing repeat reads as 0."""
    repeat = row["repeat"]
    return RunKey(str(row["sample_id"]), 0 if repeat != repeat else int(repeat), int(row["rank"]))


def of_run(table: pd.DataFrame, key: RunKey) -> pd.DataFrame:
    """The rows of one run."""
    mine = (table["sample_id"] == key.sample_id) & (table["repeat"].fillna(0) == key.repeat)
    return table[mine & (table["rank"] == key.rank)]
