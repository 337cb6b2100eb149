"""The report as one offline HTML file."""

from __future__ import annotations

from pathlib import Path

from trace_timing.report.model import ReportData


def write_report(data: ReportData, path: Path, *, cdn: bool = False) -> int:
    """Write the report and return its size in bytes.

    Args:
        data: the tables and details it is drawn from.
        path: the file to write; a report that is there is replaced whole.
        cdn: load plotly.js from its public CDN instead of carrying it (a small file that needs
            the network).
    """
    raise NotImplementedError
