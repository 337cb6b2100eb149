"""The report as one offline HTML file."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_timing.report import sentences
from trace_timing.report.model import ReportData
from trace_timing.report.packing import columns, pack
from trace_timing.report.palette import COLOURS, LABELS
from trace_timing.report.payloads import packed_details, payloads
from trace_timing.report.words import page_words
from trace_timing.schema import TABLES

if TYPE_CHECKING:
    import jinja2

PAGES = {
    "overview": "Overview",
    "samples": "Samples",
    "sample": "Sample",
    "steps": "Steps",
    "kernels": "Kernels",
    "methods": "Methods",
}
TEMPLATES = Path(__file__).parent / "templates"


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
    carried = payloads(data, samples)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            **page_words(data),
            pages=_pages(data),
            sections=_sections(data, carried),
            payloads={name: pack(value) for name, value in carried.items()}
            | packed_details(data, samples),
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


def _pages(data: ReportData) -> list[dict[str, str]]:
    pages = [{"slug": slug, "title": title} for slug, title in PAGES.items()]
    extra = [{"slug": s.slug, "title": s.title} for s in data.sections]
    return [*pages[:4], *extra, *pages[4:]]


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
