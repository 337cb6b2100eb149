"""The page that says why: verdicts in sentences, then the tables that they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trace_timing.records import STAGES
from trace_timing.report.model import Section
from trace_timing.stats.ranks import slowest_ranks
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

TITLES = {
    "verdicts": "Verdicts",
    "kinds": "Kinds of work",
    "idle": "Why the GPU idles",
    "queue": "Queue depth and launch latency",
    "sync_loops": "Between synchronizations",
    "communication": "Collectives, hidden and exposed",
    "graphs": "CUDA graphs",
    "graph_nodes": "CUDA graphs by node",
    "components": "Parts of the model by layer",
    "limits": "Distance to the device's limit",
    "hta": "Beside HolisticTraceAnalysis",
}
RANKS_TITLE = "Slowest rank"
#: Title, table, what is stacked, what is summed.
FIGURES = (
    ("Busy time by kind of work", "kinds", "op_kind", "busy_ns"),
    ("Idle time by cause", "idle", "cause", "idle_ns"),
    ("Busy time by part of the model", "components", "component", "busy_ns"),
)


def why_section(tables: Mapping[str, pd.DataFrame], stages: pd.DataFrame) -> Section | None:
    """The section `why`, None where no table has a row.

    Args:
        tables: those of stats.why, as DataFrames by name.
        stages: schema.STAGES.
    """
    shown = {TITLES[name]: tables[name] for name in TITLES if len(tables[name])}
    ranks = slowest_ranks(stages, tables["communication"])
    if len(ranks):
        shown[RANKS_TITLE] = ranks
    if not shown:
        return None
    return Section(
        "why",
        "Why",
        sentences=sentences(tables["verdicts"], stages),
        tables=shown,
        figures={
            title: _bars(tables[name], part, value)
            for title, name, part, value in FIGURES
            if len(tables[name])
        },
    )


def _bars(table: pd.DataFrame, part: str, value: str) -> go.Figure:
    """Stacked bars, one a stage: the mean over runs of what each part takes, in ms."""
    import plotly.graph_objects as go

    key = ["sample_id", "repeat", "rank"]
    runs = table[key].drop_duplicates().shape[0]
    each = table.groupby([*key, "stage", part])[value].sum().astype(float)
    # A part that a run has not is 0 there: the mean over all runs keeps the sum of the bar true.
    mean_ms = each.groupby(level=["stage", part]).sum().unstack(fill_value=0) / runs / NS_PER_MS
    order = [stage for stage in STAGES if stage in mean_ms.index]
    bars = [
        go.Bar(name=str(name), x=order, y=mean_ms.loc[order, name])
        for name in mean_ms.sum().sort_values(ascending=False).index
    ]
    return go.Figure(bars, {"barmode": "stack", "yaxis": {"title": "ms, mean over runs"}})


def sentences(verdicts: pd.DataFrame, stages: pd.DataFrame) -> list[str]:
    """One sentence a stage and verdict, of however many runs: the longest of them speaks."""
    if verdicts.empty:
        return ["No stage gives evidence enough for a verdict."]
    runs = len(stages[["sample_id", "repeat", "rank"]].dropna().drop_duplicates())
    key = ["sample_id", "repeat", "rank", "stage"]
    judged = verdicts.merge(stages[[*key, "window_ns"]], on=key, how="left")
    said = []
    for _, some in judged.groupby(["stage", "code"], sort=False):
        worst = some.sort_values("window_ns").iloc[-1]
        where = f" (in {len(some)} of {runs} runs; here {worst['sample_id']})" if runs > 1 else ""
        said.append(
            f"{worst['sentence']}{where} Evidence: {worst['evidence']}. "
            f"To shorten it: {worst['remedy']}."
        )
    return said
