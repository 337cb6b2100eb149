"""Older results of the same samples in a capture's report: on the first screen, and a page."""

from __future__ import annotations

from dataclasses import replace

from trace_timing.report.html.sections.audit import audit_section
from trace_timing.report.html.sections.audit_screen import older_figures
from trace_timing.report.model import ReportData
from trace_timing.stats.audit.against_capture import hold_against
from trace_timing.stats.audit.audit import audit
from trace_timing.stats.audit.read_results import OlderResults
from trace_timing.stats.audit.row_validity import judge


def with_older(data: ReportData, older: OlderResults) -> ReportData:
    """Add older figures to the first screen, and their audit as a page.

    Raises:
        UsageError: no sample id is in both.
    """
    against = hold_against(older, judge(older), data.samples, source="this capture")
    result = audit(older, against=against)
    page = audit_section(result, slug="older", title="Older results")
    return replace(data, older=older_figures(result, against), sections=(*data.sections, page))
