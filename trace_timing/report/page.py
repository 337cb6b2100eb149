"""The report as one offline HTML file."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_timing.records import TOOL_VERSION
from trace_timing.report import figures, sentences
from trace_timing.report.model import ReportData, RunKey, SampleDetail
from trace_timing.report.packing import columns, pack
from trace_timing.report.palette import COLOURS, LABELS
from trace_timing.report.rows import RUN, median_run, of_run, run_key, stage_rows
from trace_timing.report.timeline_figure import timeline
from trace_timing.report.trust import doubt_groups, law_line, trust_lines
from trace_timing.schema import TABLES
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

PAGES = {
    "overview": "Overview",
    "samples": "Samples",
    "sample": "Sample",
    "steps": "Steps",
    "kernels": "Kernels",
    "methods": "Methods",
}
TEMPLATES = Path(__file__).parent / "templates"
#: Compressed size that all timelines together may take: a report stays below 6 MB.
DETAILS_BYTES = 2_600_000
#: Rows of the kernel table, by total time; the file beside the report has all.
KERNEL_ROWS = 2_000


def write_report(data: ReportData, path: Path, *, cdn: bool = False) -> int:
    """Write the report and return its size in bytes.

    Args:
        data: the tables and details it is drawn from.
        path: the file to write; a report that is there is replaced whole.
        cdn: load plotly.js from its public CDN instead of carrying it (a small file that needs
            the network).
    """
    html = report_html(data, cdn=cdn).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(path.name + ".part")
    whole.write_bytes(html)
    whole.replace(path)
    return len(html)


def report_html(data: ReportData, *, cdn: bool = False) -> str:
    """The whole page as text."""
    samples = data.samples.reset_index(drop=True)
    payloads = _payloads(data, samples)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            **_words(data),
            pages=_pages(data),
            sections=_sections(data, payloads),
            payloads={name: pack(value) for name, value in payloads.items()}
            | _details(data, samples),
            plotly=None if cdn else packed_plotly(),
            cdn=plotly_cdn() if cdn else None,
            css=(TEMPLATES / "style.css").read_text(),
            unpack_js=(TEMPLATES / "unpack.js").read_text(),
            app_js=(TEMPLATES / "app.js").read_text(),
            colours=COLOURS,
            colours_json=json.dumps(COLOURS),
            labels=LABELS,
            tables=list(TABLES.values()),
        )
    )


def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["ms"] = sentences.ms
    environment.filters["percent"] = sentences.percent
    environment.filters["ratio"] = lambda value: "n/a" if value is None else f"×{value:.2f}"
    return environment


def packed_plotly() -> str:
    """The plotly.js that this plotly brings, gzip in base64: 2 MB where the text is 5."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def plotly_cdn() -> str:
    """Address of the same plotly.js on its public CDN."""
    from plotly.offline import get_plotlyjs_version

    return f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"


def _words(data: ReportData) -> dict[str, Any]:
    rows = stage_rows(data)
    key, summary = median_run(data.samples), data.summary
    runs = len(data.samples)
    groups = doubt_groups(data.doubts)
    mappings = {
        "Environment": summary.get("environment") or {},
        "Settings": summary.get("settings") or {},
    }
    return {
        "version": summary.get("tool_version") or TOOL_VERSION,
        "title": "Stage latencies" + (f" of {key.sample_id}" if runs == 1 and key else ""),
        "subtitle": f"{runs} run{'' if runs == 1 else 's'}",
        "facts": _facts(data),
        "runs": runs,
        "findings": sentences.findings(data),
        "split_caption": f"run {key.sample_id}" if key else "",
        "stage_rows": rows,
        "has_corrected": any(row.corrected_ms is not None for row in rows),
        "has_control": any(row.control_ms is not None for row in rows),
        "laws": law_line(data),
        "trust": trust_lines(data, rows),
        "doubts": groups,
        "doubt_count": len(data.doubts),
        "host_clock": data.host_clock,
        "mappings": {name: _flat(mapping) for name, mapping in mappings.items() if mapping},
        "commands": list(summary.get("commands", ())),
    }


def _facts(data: ReportData) -> list[tuple[str, str]]:
    flat = _flat(data.summary.get("environment") or {}) | _flat(data.summary.get("settings") or {})
    wanted = {
        name: value
        for name, value in flat.items()
        if name.split(".")[-1]
        in ("model", "gpu", "device", "devices", "torch", "transformers", "profile")
    }
    clocks = ", ".join(sorted(set(data.samples["clock"])))
    inputs = str(data.samples["sample_id"].nunique())
    return [
        ("samples", inputs),
        ("runs", str(len(data.samples))),
        ("clock", clocks),
        *((name.split(".")[-1], str(value)) for name, value in wanted.items()),
    ]


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            flat[f"{prefix}{key}"] = ", ".join(_brief(v) for v in value)
        elif value is not None:
            flat[f"{prefix}{key}"] = value
    return flat


def _brief(value: Any) -> str:
    """A thing with a name by its name, anything else as text."""
    return str(value["name"]) if isinstance(value, Mapping) and "name" in value else str(value)


def _pages(data: ReportData) -> list[dict[str, str]]:
    pages = [{"slug": slug, "title": title} for slug, title in PAGES.items()]
    extra = [{"slug": s.slug, "title": s.title} for s in data.sections]
    return [*pages[:4], *extra, *pages[4:]]


def _payloads(data: ReportData, samples: pd.DataFrame) -> dict[str, Any]:
    key = median_run(samples)
    decode = data.steps[data.steps["stage"] == "decode"]
    drawn = {
        "split": figures.split(of_run(data.stages, key) if key else data.stages[:0]),
        "samples": figures.sample_stages(data.stages, samples),
        "distribution": figures.distribution(data.stages),
        "steps": figures.decode_by_position(data.steps),
        "kernels": figures.top_kernels(data.kernels),
    }
    example = (of_run(data.stages, key), of_run(decode, key)) if key else (data.stages, decode)
    return {
        **{f"figure-{name}": figure.to_plotly_json() for name, figure in drawn.items()},
        "samples": columns(samples),
        "stages": _by_run(data.stages, samples, ["stage", "busy_ns", "idle_ns", "window_ns"]),
        "steps": _by_run(
            decode, samples, ["step", "window_ns", "busy_ns", "corrected_ns", "control_ns"]
        ),
        "positions": columns(_positions(decode)),
        "kernels": columns(kernel_totals(data.kernels).head(KERNEL_ROWS)),
        "templates": {
            "stages": figures.run_stages(example[0][:0]).to_plotly_json(),
            "steps": figures.run_steps(example[1][:0]).to_plotly_json(),
        },
    }


def _by_run(table: pd.DataFrame, samples: pd.DataFrame, wanted: list[str]) -> dict[str, Any]:
    """Rows grouped in the order of the sample table; `first[i]` is where run i begins."""
    order = {run_key(row): i for i, (_, row) in enumerate(samples[RUN].iterrows())}
    keys = zip(
        table["sample_id"],
        table["repeat"].fillna(0).astype(int),
        table["rank"].astype(int),
        strict=True,
    )
    run = np.array([order.get(RunKey(*key), -1) for key in keys], np.int64)
    mine = table[run >= 0]
    by = np.argsort(run[run >= 0], kind="stable")
    counts = np.bincount(run[run >= 0], minlength=len(samples))
    first = np.concatenate([[0], np.cumsum(counts)])
    return {"first": first} | columns(mine.iloc[by][wanted])


def _positions(decode: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    in_ms = pd.DataFrame(
        {
            f"{name}_ms": decode[f"{name}_ns"].astype("float64") / NS_PER_MS
            for name in ("window", "busy", "idle", "corrected", "control", "interval")
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


def _details(data: ReportData, samples: pd.DataFrame) -> dict[str, str]:
    """Packed timelines, nearest to the median total first, as many as the budget takes."""
    order = {run_key(row): i for i, (_, row) in enumerate(samples[RUN].iterrows())}
    median = samples["T_total_ms"].median()
    chosen = sorted(
        (key for key in data.details if key in order),
        key=lambda key: abs((samples["T_total_ms"].iloc[order[key]] or 0) - median),
    )
    packed: dict[str, str] = {}
    for key in chosen:
        text = pack(_detail(data.details[key], of_run(data.kernels, key)))
        if packed and sum(map(len, packed.values())) + len(text) > DETAILS_BYTES:
            continue
        packed[f"detail-{order[key]}"] = text
    return packed


def _detail(detail: SampleDetail, kernels: pd.DataFrame) -> dict[str, Any]:
    ops = len(detail.op_start_ns)
    note = (
        f"{ops:,} GPU ops on {len(detail.lanes)} stream{'' if len(detail.lanes) == 1 else 's'}, "
        f"{len(detail.mark_start_ns):,} synchronizing and allocator calls."
        if ops
        else "clock = host: this trace has no GPU timeline."
    )
    return {
        "note": note,
        "figure": timeline(detail).to_plotly_json(),
        "kernels": columns(kernel_totals(kernels).head(200)),
    }


def _sections(data: ReportData, payloads: dict[str, Any]) -> list[dict[str, Any]]:
    """Further pages; their figures and tables join the payloads under names of their own."""
    out = []
    for section in data.sections:
        named_figures, named_tables = {}, {}
        for i, (title, figure) in enumerate(section.figures.items()):
            named_figures[title] = f"{section.slug}-f{i}"
            payloads[f"figure-{section.slug}-f{i}"] = figure.to_plotly_json()
        for i, (title, table) in enumerate(section.tables.items()):
            named_tables[title] = f"{section.slug}-t{i}"
            payloads[f"{section.slug}-t{i}"] = columns(table)
        out.append(
            {
                "slug": section.slug,
                "title": section.title,
                "sentences": list(section.sentences),
                "figures": named_figures,
                "tables": named_tables,
            }
        )
    return out
