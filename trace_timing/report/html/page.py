"""The report as one offline HTML file."""

from __future__ import annotations

from pathlib import Path

from trace_timing.report.html.base import render, with_payloads, write_page
from trace_timing.report.html.packing import pack
from trace_timing.report.html.page_data import packed_details, payloads
from trace_timing.report.html.template_values import template_values
from trace_timing.report.model import ReportData
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
        data: the tables and details to show.
        path: the file to write, atomically; an older report there is replaced.
        cdn: load plotly.js from its public CDN instead of including it: a small file that needs
            the network.
    """
    return write_page(report_html(data, cdn=cdn), path)


def report_html(data: ReportData, *, cdn: bool = False) -> str:
    """The whole page as text."""
    page_data = payloads(data, data.recorded)
    sections = with_payloads(data.sections, page_data)
    packed = {name: pack(value) for name, value in page_data.items()}
    return render(
        "report.html.j2",
        packed=packed | packed_details(data, data.recorded),
        cdn=cdn,
        pages=_pages(data),
        sections=sections,
        tables=list(TABLES.values()),
        **template_values(data),
    )


def _pages(data: ReportData) -> list[dict[str, str]]:
    """The pages that have data; further sections follow the steps."""
    # Controls alone have no recorded run; a trace without GPU timeline has no kernel.
    empty = {"sample": not len(data.recorded), "kernels": not len(data.kernels)}
    shown = [slug for slug in PAGES if not empty.get(slug)]
    pages = [{"slug": slug, "title": PAGES[slug]} for slug in shown]
    extra = [{"slug": s.slug, "title": s.title} for s in data.sections]
    place = shown.index("steps") + 1
    return [*pages[:place], *extra, *pages[place:]]
