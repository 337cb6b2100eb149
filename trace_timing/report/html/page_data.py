"""Data inside the report's page: figures, tables and timelines, ready for packing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trace_timing.report.figures import kernels, overview, steps
from trace_timing.report.html.packing import columns, pack
from trace_timing.report.html.timeline_data import timeline_data
from trace_timing.report.model import ReportData, SampleDetail
from trace_timing.report.rows import RUN, median_run, of_run, run_key
from trace_timing.timeline.rows.tables import RunKey
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd

#: Compressed size that all timelines together may take: a report stays below 5 MB.
DETAILS_BYTES = 2_300_000
#: Most rows of the kernel table, the longest total first; the file beside the report has all.
KERNEL_ROWS = 2_000


def payloads(data: ReportData, runs: pd.DataFrame) -> dict[str, Any]:
    """Data of figures and tables, by the name of the script element that holds it.

    Args:
        runs: the recorded runs, a row each.
    """
    key = median_run(runs)
    decode = steps.drawn_steps(data.steps)
    figures = {
        "split": overview.split(of_run(data.stages, key) if key else data.stages[:0]),
        "samples": overview.sample_stages(data.stages, runs),
        "distribution": overview.distribution(data.stages),
        "steps": steps.decode_by_position(data.steps, data.summary.get("scaling") or ()),
        "kernels": kernels.top_kernels(data.kernels),
    }
    of_median = (of_run(data.stages, key), of_run(decode, key)) if key else (data.stages, decode)
    return {
        **{f"figure-{name}": figure.to_plotly_json() for name, figure in figures.items()},
        "samples": columns(data.samples),
        "runs": columns(runs),
        "stages": _by_run(
            overview.with_unknown(data.stages),
            runs,
            ["stage", "busy_ns", "idle_ns", "unknown_ns", "window_ns"],
        ),
        "steps": _by_run(decode, runs, ["step", "latency_ns", "window_ns", "busy_ns"]),
        "positions": columns(_positions(decode)),
        "kernels": columns(kernel_totals(data.kernels).head(KERNEL_ROWS)),
        "templates": {
            "stages": overview.run_stages(of_median[0][:0]).to_plotly_json(),
            "steps": steps.run_steps(of_median[1][:0]).to_plotly_json(),
        },
    }


def _by_run(table: pd.DataFrame, runs: pd.DataFrame, wanted: list[str]) -> dict[str, Any]:
    """Columns of a table sorted by run, in the order of `runs`; run i starts at row `first[i]`."""
    order = {run_key(row): i for i, (_, row) in enumerate(runs[RUN].iterrows())}
    keys = zip(
        table["sample_id"],
        table["repeat"].fillna(0).astype(int),
        table["rank"].astype(int),
        strict=True,
    )
    run = np.array([order.get(RunKey(*key), -1) for key in keys], np.int64)
    mine = table[run >= 0]
    by = np.argsort(run[run >= 0], kind="stable")
    counts = np.bincount(run[run >= 0], minlength=len(runs))
    first = np.concatenate([[0], np.cumsum(counts)])
    return {"first": first} | columns(mine.iloc[by][wanted])


def _positions(decode: pd.DataFrame) -> pd.DataFrame:
    """Times of decode steps by position, in ms: medians over the runs."""
    import pandas as pd

    in_ms = pd.DataFrame(
        {
            f"{name}_ms": decode[f"{name}_ns"].astype("float64") / NS_PER_MS
            for name in ("latency", "window", "busy", "idle")
        }
    )
    grouped = in_ms.assign(step=decode["step"]).groupby("step")
    out = grouped.median().dropna(axis=1, how="all")
    out.insert(0, "runs", grouped.size())
    return out.reset_index()


def kernel_totals(kernels: pd.DataFrame) -> pd.DataFrame:
    """Kernels by stage and name over all runs, in ms, the longest total first."""
    by_name = kernels.groupby(["stage", "name", "op"], observed=True, sort=False)
    totals = by_name.agg(
        count=("count", "sum"), total_ns=("total_ns", "sum"), max_ns=("max_ns", "max")
    )
    totals = totals.reset_index().sort_values("total_ns", ascending=False, kind="stable")
    share = totals["total_ns"].astype(float) / max(float(totals["total_ns"].sum()), 1.0)
    return totals.assign(
        total_ms=totals["total_ns"].astype(float) / NS_PER_MS,
        share_frac=share,
        mean_us=totals["total_ns"].astype(float) / totals["count"].astype(float) / 1000,
        max_us=totals["max_ns"].astype(float) / 1000,
    )[["stage", "name", "op", "count", "total_ms", "share_frac", "mean_us", "max_us"]]


def packed_details(data: ReportData, runs: pd.DataFrame) -> dict[str, str]:
    """Packed timelines of the runs nearest to the median total, as many as DETAILS_BYTES holds."""
    order = {run_key(row): i for i, (_, row) in enumerate(runs[RUN].iterrows())}
    median = runs["T_total_ms"].median()
    chosen = sorted(
        (key for key in data.details if key in order),
        key=lambda key: abs((runs["T_total_ms"].iloc[order[key]] or 0) - median),
    )
    packed: dict[str, str] = {}
    for key in chosen:
        text = pack(_detail(data.details[key], of_run(data.kernels, key)))
        if packed and sum(map(len, packed.values())) + len(text) > DETAILS_BYTES:
            continue
        packed[f"detail-{order[key]}"] = text
    return packed


def _detail(detail: SampleDetail, kernels: pd.DataFrame) -> dict[str, Any]:
    """A run's timeline, its longest kernels, and a sentence on the timeline."""
    ops = len(detail.op_start_ns)
    note = (
        f"{ops:,} GPU ops on {len(detail.lanes)} stream{'' if len(detail.lanes) == 1 else 's'}, "
        f"{len(detail.mark_start_ns):,} synchronizing and allocator calls."
        if ops
        else "clock = host: this trace has no GPU timeline."
    )
    return {
        "note": note,
        "timeline": timeline_data(detail),
        "kernels": columns(kernel_totals(kernels).head(200)),
    }
