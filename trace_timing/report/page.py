"""The report as one offline HTML file."""

from __future__ import annotations

from pathlib import Path

from trace_timing.report.model import ReportData
from trace_timing.report.packing import pack
from trace_timing.report.payloads import packed_details, payloads
from trace_timing.report.shell import render, with_payloads, write_page
from trace_timing.report.words import page_words
from trace_timing.schema import TABLES

PAGES = {
    "overview": "Overview",
    "samples": "Samples",
    "sample": "Sample",
    "steps": "Steps",
    "kernels": "Kernels",
    "methods": "Methods",
}


def write_report(data: ReportData, path: Path, *, cdn: bool = False) -> int:
    """Write the report and return its size in bytes.

    Args:
        data: the tables and details it is drawn from.
        path: the file to write; a report that is there is replaced whole.
        cdn: load plotly.js from its public CDN instead of carrying it (a small file that needs
            the network).
    """
    return write_page(report_html(data, cdn=cdn), path)


def report_html(data: ReportData, *, cdn: bool = False) -> str:
    """The whole page as text."""
    samples = data.samples.reset_index(drop=True)
    carried = payloads(data, samples)
    sections = with_payloads(data.sections, carried)
    packed = {name: pack(value) for name, value in carried.items()}
    return render(
        "report.html.j2",
        packed=packed | packed_details(data, samples),
        cdn=cdn,
        pages=_pages(data),
        sections=sections,
        tables=list(TABLES.values()),
        **page_words(data),
    )


def _pages(data: ReportData) -> list[dict[str, str]]:
    pages = [{"slug": slug, "title": title} for slug, title in PAGES.items()]
    extra = [{"slug": s.slug, "title": s.title} for s in data.sections]
    return [*pages[:4], *extra, *pages[4:]]
