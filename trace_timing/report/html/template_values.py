"""Values of the report's template: title, first screen, findings, stage rows, trust, methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_timing.records.encoding import TOOL_VERSION
from trace_timing.report import findings
from trace_timing.report.html.first_screen import first_screen
from trace_timing.report.latency_rows import all_recorded
from trace_timing.report.model import ReportData
from trace_timing.report.rows import stage_rows
from trace_timing.report.terminal.statistics import step_growth
from trace_timing.report.trust import check_line, stretched_groups, trust_lines


def template_values(data: ReportData) -> dict[str, Any]:
    """Values of the template that are text or rows of the overview."""
    rows = stage_rows(data)
    summary = data.summary
    runs, samples = len(data.recorded), data.samples["sample_id"].nunique()
    screen = first_screen(data)
    mappings = {
        "Environment": summary.get("environment") or {},
        "Settings": summary.get("settings") or {},
    }
    return {
        "version": summary.get("tool_version") or TOOL_VERSION,
        "title": screen.title,
        "subtitle": f"{samples:,} sample{'' if samples == 1 else 's'}",
        "first_screen": screen,
        "runs": runs,
        "has_steps": bool((data.steps["stage"] == "decode").any()),
        "has_kernels": bool(len(data.kernels)),
        "findings": findings.findings(data),
        "stage_rows": rows,
        "all_recorded": all_recorded(data),
        "step_growth": step_growth(summary.get("scaling") or ()),
        "checks": check_line(data),
        "trust": trust_lines(data, rows),
        "stretched": stretched_groups(data),
        "host_clock": findings.clock_sentence(data),
        "mappings": {name: _flat(mapping) for name, mapping in mappings.items() if mapping},
        "commands": list(summary.get("commands", ())),
    }


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, lists as text; empty ones are left out."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            flat[f"{prefix}{key}"] = ", ".join(_brief(v) for v in value) or "none"
        elif value is not None and value != "":
            flat[f"{prefix}{key}"] = value
    return flat


def _brief(value: Any) -> str:
    """The name of a mapping that has one, else the value as text."""
    return str(value["name"]) if isinstance(value, Mapping) and "name" in value else str(value)
