"""The page that says why: verdicts in sentences, then the tables that they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trace_timing.report.model import Section
from trace_timing.stats.ranks import slowest_ranks

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "verdicts": "Verdicts",
    "kinds": "Kinds of work",
    "idle": "Why the GPU idles",
    "queue": "Queue depth and launch latency",
    "sync_loops": "Between synchronizations",
    "communication": "Collectives, hidden and exposed",
    "graphs": "CUDA graphs",
    "graph_nodes": "CUDA graphs by node",
    "limits": "Distance to the device's limit",
}
RANKS_TITLE = "Slowest rank"


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
    return Section("why", "Why", sentences=sentences(tables["verdicts"], stages), tables=shown)


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
