"""The page Why: verdicts in sentences, then the figures and tables that they rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trace_timing.report.figures.overview import styled
from trace_timing.report.figures.plain import Figure
from trace_timing.report.model import Section
from trace_timing.report.palette import LABELS, SERIES
from trace_timing.schema import TABLES
from trace_timing.schema.table import Column, Table
from trace_timing.stages import STAGES
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd

#: Most rows of graph nodes: a trace can have tens of thousands.
MOST_NODES = 500
TITLES = {
    "kinds": "Kinds of work",
    "idle": "Why the GPU idles",
    "queue": "Queue depth and launch latency",
    "sync_loops": "Between synchronizations",
    "ranks": "Ranks of one sample",
    "communication": "Collectives, hidden and exposed",
    "graphs": "CUDA graphs",
    "graph_nodes": f"CUDA graphs by node, the {MOST_NODES} that take most",
    "components": "Parts of the model by layer",
    "limits": "Distance to the device's limit",
    "hta": "Beside HolisticTraceAnalysis",
}
_RUN = ["sample_id", "repeat", "rank"]
MOST_SERIES = len(SERIES)
_MEAN_MS = "ms, mean over runs"
#: Title, table, column that divides the bars, column that is summed.
FIGURES = (
    ("What does the GPU do in each stage?", "kinds", "op_kind", "busy_ns"),
    ("What does the GPU wait for in each stage?", "idle", "cause", "idle_ns"),
    ("Which part of the model keeps it busy?", "components", "component", "busy_ns"),
)


def why_section(tables: Mapping[str, pd.DataFrame], stages: pd.DataFrame) -> Section | None:
    """The section `why`; None where no table has a row.

    Args:
        tables: stats.trace.diagnosis.WHY_TABLES and `ranks`, as DataFrames by name.
        stages: schema.STAGES.
    """
    shown = {
        title: _shown(name, tables[name]) for name, title in TITLES.items() if len(tables[name])
    }
    if not shown:
        return None
    return Section(
        "why",
        "Why",
        sentences=[
            *_of_recorded_steps(stages),
            *sentences(tables["verdicts"], stages),
            *_of_graphs(tables["graph_nodes"]),
            *_of_ranks(tables["ranks"]),
        ],
        tables=shown,
        figures=dict(_figures(tables)),
    )


def _shown(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """A table as the page shows it."""
    rows = over_runs(table, TABLES[name])
    return rows.nlargest(MOST_NODES, "total_ms") if name == "graph_nodes" else rows


def over_runs(table: pd.DataFrame, schema: Table) -> pd.DataFrame:
    """Combine the rows of all runs: one row for each key without the run, times in ms.

    Numbers become their mean over the runs that have the row, booleans whether all are true, and
    labels (a name, a rank) the most frequent one. With several runs, `runs` counts those that have
    the row.
    """
    run = [name for name in _RUN if name in schema.key]
    group = [name for name in schema.key if name not in run]
    rows = table.groupby(group, sort=False, dropna=False)
    out = rows.agg({c.name: _aggregation(c) for c in schema if c.name not in schema.key})
    if len(table[run].drop_duplicates()) > 1:
        out.insert(0, "runs", rows.size())
    times = [str(name) for name in out if str(name).endswith("_ns")]
    in_ms = out.assign(**{name: out[name].astype("float64") / NS_PER_MS for name in times})
    return in_ms.rename(columns={name: f"{name[:-3]}_ms" for name in times}).reset_index()


def _aggregation(column: Column) -> str | Callable[[pd.Series], object]:
    """How `over_runs` combines the values of a column."""
    if column.type == "bool":
        return "all"
    return "mean" if column.unit or column.type == "float64" else _most_frequent


def _most_frequent(values: pd.Series) -> object:
    return next(iter(values.mode()), None)


def _figures(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """The figures whose tables have rows, by title."""
    for title, name, series, value in FIGURES:
        if len(tables[name]):
            yield title, _bars(tables[name], series, value)
    yield from _by_layer(tables["components"])
    if len(tables["queue_depth"]):
        yield _depth(tables["queue_depth"])


def _by_layer(components: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """A figure for each stage with ops in layers: stacked bars, one a layer."""
    layered = components[components["layer"].notna()]
    runs = components[_RUN].drop_duplicates().shape[0]
    for stage in (stage for stage in STAGES if stage in set(layered["stage"])):
        own = layered[layered["stage"] == stage]
        ns = own.groupby(["layer", "component"])["busy_ns"].sum().astype(float)
        mean_ms = ns.unstack(fill_value=0) / runs / NS_PER_MS
        figure = styled(_stacked(_largest(mean_ms), mean_ms.index.tolist()), x="layer", y=_MEAN_MS)
        yield f"Which layers keep it busy? {LABELS[stage]}", figure


def _depth(queue_depth: pd.DataFrame) -> tuple[str, Figure]:
    """Queue depth over one run: mean and maximum in each bin of its window."""
    # Of several runs the longest: the one whose last bin starts latest.
    longest = queue_depth.nlargest(1, "start_ns")[_RUN]
    own = queue_depth.merge(longest, on=_RUN).sort_values("bin")
    at_ms = own["start_ns"] / NS_PER_MS
    figure = Figure()
    for name, column in (("most", "max_depth"), ("mean", "mean_depth")):
        figure.add_scatter(name=name, x=at_ms, y=own[column], mode="lines", line={"shape": "hv"})
    name = own["sample_id"].iloc[0]
    figure = styled(figure, x="ms since the run began", y="ops queued")
    return f"How far is the host ahead? Ops launched and not started: {name}", figure


def _bars(table: pd.DataFrame, series: str, value: str) -> Figure:
    """Stacked bars, one a stage: `value` by `series`, the mean over runs, in ms."""
    runs = table[_RUN].drop_duplicates().shape[0]
    each = table.groupby([*_RUN, "stage", series])[value].sum().astype(float)
    # A run without a series counts as 0, so that a bar is as long as the mean of the sums.
    mean_ms = each.groupby(level=["stage", series]).sum().unstack(fill_value=0) / runs / NS_PER_MS
    order = [stage for stage in STAGES if stage in mean_ms.index]
    labels = [LABELS[stage] for stage in order]
    # Horizontal, so that the stages' names need not be turned on a phone.
    figure = _stacked(_largest(mean_ms.loc[order]), labels, horizontal=True)
    styled(figure, x=_MEAN_MS, height=130 + 34 * len(labels))
    return figure.update_yaxes(autorange="reversed", showgrid=False)


def _stacked(parts: pd.DataFrame, labels: Sequence[Any], *, horizontal: bool = False) -> Figure:
    """A bar for each row of `parts`, its columns stacked."""
    along, across = ("x", "y") if horizontal else ("y", "x")
    figure = Figure().update_layout(barmode="stack")
    for name, colour in zip(parts, SERIES, strict=False):
        figure.add_bar(
            name=str(name),
            orientation="h" if horizontal else "v",
            marker={"color": colour},
            hovertemplate=f"%{{{across}}}, {name}: %{{{along}:,.3f}} ms<extra></extra>",
            **{along: parts[name], across: labels},
        )
    return figure


def _of_recorded_steps(stages: pd.DataFrame) -> list[str]:
    """A sentence that decode and sampling cover the recorded steps only, where not all were."""
    partial = stages[(stages["stage"] == "decode") & ~stages["recorded"].astype(bool)]
    if partial.empty:
        return []
    recorded, steps = (int(partial[name].median()) for name in ("recorded_steps", "steps"))
    return [
        f"Decode and sampling on this page are {recorded:,} recorded steps of {steps:,}: their "
        "sums are over these."
    ]


def _of_graphs(graph_nodes: pd.DataFrame) -> list[str]:
    """A sentence on how graph nodes are numbered, where the trace has no ids for them."""
    if not (graph_nodes["told_by"] == "order").any():
        return []
    return [
        "The trace has no ids of graph nodes, or not for all ops: where `told_by` is order, "
        "replays of the same ops in the same order count as one graph, and a node is a place in it."
    ]


def _of_ranks(ranks: pd.DataFrame) -> list[str]:
    """Where one rank is furthest behind, and where the others wait longest for one."""
    return [*_slowest(ranks), *_awaited(ranks)]


def _awaited(ranks: pd.DataFrame) -> list[str]:
    """The stage in which ranks wait longest in collectives for another rank."""
    waiting = ranks.dropna(subset=["wait_spread_ns"])
    if waiting.empty:
        return []
    worst = waiting.nlargest(1, "wait_spread_ns").to_dict("records")[0]
    return [
        f"Ranks wait longest for rank {worst['awaited_rank']}, in {worst['stage']} of "
        f"{worst['sample_id']}: another is {_ms(worst['wait_spread_ns'])} longer in collectives "
        f"that nothing hides."
    ]


def _slowest(ranks: pd.DataFrame) -> list[str]:
    """The stage in which the slowest rank is furthest behind the fastest."""
    if ranks.empty:
        return []
    worst = ranks.nlargest(1, "spread_ns").to_dict("records")[0]
    apart = worst["ends_apart_ns"]
    ends = "" if not isinstance(apart, int) else f"; they end {_ms(apart)} apart"
    return [
        f"Of {worst['ranks']} ranks, rank {worst['slowest_rank']} is furthest behind, in "
        f"{worst['stage']} of {worst['sample_id']}: it works {_ms(worst['own_ns'])} there, outside "
        f"collectives, {_ms(worst['spread_ns'])} more than the fastest{ends}."
    ]


def _ms(ns: int) -> str:
    return f"{ns / NS_PER_MS:.3g} ms"


def _largest(parts: pd.DataFrame) -> pd.DataFrame:
    """Columns by their sums, the largest first; without a colour for each, the smallest as one."""
    order = parts.sum().sort_values(ascending=False).index
    if len(order) <= MOST_SERIES:
        return parts[order]
    shown, rest = order[: MOST_SERIES - 1], order[MOST_SERIES - 1 :]
    return parts[shown].assign(**{f"{len(rest)} smaller": parts[rest].sum(axis=1)})


def sentences(verdicts: pd.DataFrame, stages: pd.DataFrame) -> list[str]:
    """One text for each stage and verdict, from the run in which the stage took longest."""
    if verdicts.empty:
        return ["No stage gives evidence enough for a verdict."]
    runs = len(stages[["sample_id", "repeat", "rank"]].dropna().drop_duplicates())
    key = ["sample_id", "repeat", "rank", "stage"]
    judged = verdicts.merge(stages[[*key, "window_ns"]], on=key, how="left")
    texts = []
    for _, alike in judged.groupby(["stage", "code"], sort=False):
        worst = alike.sort_values("window_ns").iloc[-1]
        where = (
            f" (of {worst['sample_id']}; so in {len(alike):,} of {runs:,} runs)" if runs > 1 else ""
        )
        texts.append(
            f"{worst['sentence']}\nEvidence{where}: {worst['evidence']}.\n"
            f"To shorten it: {worst['remedy']}."
        )
    return texts
