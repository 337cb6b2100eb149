"""How long the forwards of a server take, by stage and batch size."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from trace_timing import schema
from trace_timing.errors import UsageError
from trace_timing.stages import STAGES
from trace_timing.stats.trace.trace_result import RunSummary, TraceSummary
from trace_timing.units import NS_PER_MS

#: Time of a step → its column of schema.STEPS.
TIMES = {"window": "window_ns", "busy": "busy_ns", "interval": "interval_ns"}
_RUN = ["sample_id", "repeat", "rank"]


def serving_summary(
    steps: pd.DataFrame, runs: Iterable[RunSummary], traces: Iterable[TraceSummary]
) -> pd.DataFrame:
    """`step_summary` of the steps of servers' traces, by rank too where there are several.

    Ranks of one server run each step together, so their steps are not independent.
    """
    chosen = steps[_is_served(steps, runs, traces)]
    ranks = ["rank"] if chosen["rank"].nunique() > 1 else []
    return step_summary(chosen, [*ranks, "stage", "batch_size"])


def generate_steps(
    steps: pd.DataFrame, runs: Iterable[RunSummary], traces: Iterable[TraceSummary]
) -> pd.DataFrame:
    """Only the steps of generate() calls, whose numbers are positions in one sequence."""
    return steps[~_is_served(steps, runs, traces)]


def served_steps(
    steps: pd.DataFrame, runs: Iterable[RunSummary], traces: Iterable[TraceSummary]
) -> pd.DataFrame:
    """Only the forwards of servers' traces, each run's in order of begin."""
    return steps[_is_served(steps, runs, traces)]


def served_steps_of_tables(
    steps: pd.DataFrame, runs: pd.DataFrame, serving: Collection[str]
) -> pd.DataFrame:
    """As `served_steps`, from the tables of a report.

    Args:
        runs: schema.RUNS.
        serving: names of the traces that were read as a server's.
    """
    if not serving:
        return steps[:0]
    theirs = runs.loc[runs["trace"].isin(list(serving)), _RUN]
    return steps[_are_of(steps, set(theirs.itertuples(index=False, name=None)))]


def _is_served(
    steps: pd.DataFrame, runs: Iterable[RunSummary], traces: Iterable[TraceSummary]
) -> pd.Series[bool]:
    serving = {trace.trace for trace in traces if trace.serving}
    theirs = {(r.sample_id, r.repeat, r.rank) for r in runs if r.trace in serving}
    return _are_of(steps, theirs)


def _are_of(steps: pd.DataFrame, runs: Collection[tuple[Any, ...]]) -> pd.Series[bool]:
    if not runs:
        return pd.Series(False, index=steps.index)
    is_of_run = [key in runs for key in steps[_RUN].itertuples(index=False, name=None)]
    return pd.Series(is_of_run, index=steps.index, dtype=bool)


def step_summary(steps: pd.DataFrame, by: Sequence[str] = ("stage", "batch_size")) -> pd.DataFrame:
    """One row for each group of steps and kind of time: n, and percentiles in ms.

    Percentiles are interpolated linearly: of few steps the 99th is about the longest. Steps without
    a value in a column of `by` make a group of their own.

    Args:
        steps: schema.STEPS.
        by: columns to group by, each a size or one of the key.
    Returns:
        Columns `by`, time (of TIMES), n, p50_ms, p90_ms, p99_ms; by stage in the order of a
        generate() call, then by the other columns.
    Raises:
        UsageError: no such column.
    """
    unknown = [name for name in by if name not in steps.columns]
    if unknown:
        raise UsageError(
            f"no column {', '.join(unknown)} to group steps by",
            remedy=f"name columns of the table steps: {', '.join(schema.STEPS.names)}",
        )
    rows = []
    for value, group in steps.groupby(list(by), dropna=False, sort=False):
        for time, column in TIMES.items():
            known = group[column].dropna().to_numpy(np.float64) / NS_PER_MS
            if len(known):
                p50, p90, p99 = np.percentile(known, [50, 90, 99]).tolist()
                rows.append((*value, time, len(known), p50, p90, p99))
    table = pd.DataFrame(rows, columns=[*by, "time", "n", "p50_ms", "p90_ms", "p99_ms"])
    for name in set(by) - {"stage"}:
        table[name] = table[name].astype(steps[name].dtype)
    return table.sort_values(list(by), key=_in_order, kind="stable", ignore_index=True)


def _in_order(column: pd.Series) -> pd.Series:
    return column.map(STAGES.index) if column.name == "stage" else column
