"""A server's trace for the terminal: the stage map that was used, and its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from trace_timing.report.findings import ms
from trace_timing.report.palette import LABELS
from trace_timing.stats.trace.trace_result import TraceSummary

#: Most groups of steps that are shown; step_summary.csv has all.
MOST_GROUPS = 6


def stage_map_lines(traces: Sequence[TraceSummary]) -> list[str]:
    """Which built-in stage maps the range names were read with; empty where none was."""
    used = Counter(trace.stage_map for trace in traces)
    named = [f"{name} ({count} of {len(traces)} traces)" for name, count in used.items() if name]
    return [f"Range names read with the stage map {', '.join(named)}."] if named else []


def step_lines(summary: pd.DataFrame) -> list[str]:
    """A line for each of the largest groups of steps; empty without a server's trace.

    Args:
        summary: as stats.capture.step_summaries.step_summary returns it.
    """
    windows = summary[summary["time"] == "window"]
    if windows.empty:
        return []
    shown = windows.loc[windows["n"].nlargest(MOST_GROUPS, keep="first").index.sort_values()]
    lines = ["Steps, window p50 / p90 / p99:"]
    for row in shown.to_dict("records"):
        times = " / ".join(ms(row[f"p{p}_ms"]) for p in (50, 90, 99))
        lines.append(f"  {_group(row)}: {times} ({row['n']} step{'' if row['n'] == 1 else 's'})")
    left = len(windows) - len(shown)
    return [*lines, *([f"  and {left} more in step_summary.csv"] if left else [])]


def _group(row: Mapping[Hashable, Any]) -> str:
    batch = "batch size unknown" if pd.isna(row["batch_size"]) else f"batch {row['batch_size']}"
    rank = f", rank {row['rank']}" if "rank" in row else ""
    return f"{LABELS[row['stage']]}, {batch}{rank}"
