"""What the page says in words: title, facts, findings, trust and methods, as template values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_timing.records.encoding import TOOL_VERSION
from trace_timing.report import findings
from trace_timing.report.latency_rows import all_recorded, latency_rows
from trace_timing.report.model import ReportData
from trace_timing.report.rows import median_run, stage_rows
from trace_timing.report.terminal.statistics import step_growth
from trace_timing.report.trust import check_line, stretched_groups, trust_lines, warning_groups


def page_words(data: ReportData) -> dict[str, Any]:
    """Values of the template that are words or rows of the overview."""
    rows = stage_rows(data)
    key, summary = median_run(data.recorded), data.summary
    runs, samples = len(data.recorded), data.samples["sample_id"].nunique()
    groups = warning_groups(data.warnings)
    mappings = {
        "Environment": summary.get("environment") or {},
        "Settings": summary.get("settings") or {},
    }
    return {
        "version": summary.get("tool_version") or TOOL_VERSION,
        "title": "Stage latencies" + (f" of {key.sample_id}" if runs == 1 and key else ""),
        "subtitle": f"{samples} sample{'' if samples == 1 else 's'}",
        "facts": _facts(data),
        "runs": runs,
        "findings": findings.findings(data),
        "split_caption": f"run {key.sample_id}" if key else "",
        "stage_rows": rows,
        "latency_rows": latency_rows(data),
        "all_recorded": all_recorded(data),
        "step_growth": step_growth(summary.get("scaling") or ()),
        "checks": check_line(data),
        "trust": trust_lines(data, rows),
        "stretched": stretched_groups(data),
        "warnings": groups,
        "warning_count": len(data.warnings),
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
    clocks = ", ".join(sorted(set(data.samples["clock"].dropna())))
    inputs = str(data.samples["sample_id"].nunique())
    return [
        ("samples", inputs),
        ("recorded runs", str(len(data.recorded))),
        ("clock", clocks),
        *((name.split(".")[-1], str(value)) for name, value in wanted.items()),
    ]


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
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
    """A thing with a name by its name, anything else as text."""
    return str(value["name"]) if isinstance(value, Mapping) and "name" in value else str(value)
