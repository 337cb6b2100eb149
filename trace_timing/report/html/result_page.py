"""A comparison or an audit as one offline HTML file, with a page for each section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trace_timing.records.encoding import TOOL_VERSION
from trace_timing.report.html.base import render, with_payloads, write_page
from trace_timing.report.html.packing import pack
from trace_timing.report.model import Section


def write_result(sections: Sequence[Section], path: Path, *, title: str, subtitle: str) -> int:
    """Write a page in the report's look and return its size in bytes.

    Args:
        sections: one page each; the first is shown when the file is opened.
        path: the file to write, atomically; an older one there is replaced.
    """
    page_data = dict[str, Any]()
    html = render(
        "result.html.j2",
        sections=with_payloads(sections, page_data),
        packed={name: pack(value) for name, value in page_data.items()},
        cdn=False,
        version=TOOL_VERSION,
        title=title,
        subtitle=subtitle,
        pages=[{"slug": section.slug, "title": section.title} for section in sections],
    )
    return write_page(html, path)
