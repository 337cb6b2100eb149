"""Write samples.csv and summary.json, and build the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv

from trace_timing.atomic_write import replacing, write_whole
from trace_timing.records.encoding import FORMAT_VERSION, TOOL_VERSION
from trace_timing.records.findings import FigureWarning, IntegrityResult, Rejection
from trace_timing.records.manifest import Manifest
from trace_timing.stats.capture.statistics import Statistics
from trace_timing.stats.trace.trace_result import RunSummary, TraceSummary
from trace_timing.untrusted_text import cell

if TYPE_CHECKING:
    import pandas as pd


def plain(value: object) -> Any:
    """A record as plain values, ready for JSON."""
    return msgspec.to_builtins(value)


def summary_of(
    runs: Sequence[RunSummary],
    traces: Sequence[TraceSummary],
    rejections: Sequence[Rejection],
    manifests: Sequence[Manifest],
    warnings: Sequence[FigureWarning] = (),
) -> dict[str, Any]:
    """What summary.json holds, as plain values.

    `checks` and `warnings` are flat lists that name their run; `unattributed` counts ops by reason.
    """
    unattributed: Counter[str] = Counter()
    for trace in traces:
        unattributed.update(trace.unattributed)
    checks = [
        {"sample_id": r.sample_id, "repeat": r.repeat, "rank": r.rank, **msgspec.to_builtins(check)}
        for r in runs
        for check in r.checks
    ]
    checks += [
        {"trace": t.trace, **msgspec.to_builtins(check)} for t in traces for check in t.checks
    ]
    found = [w for trace in traces for w in trace.warnings]
    found += [w for run in runs for w in run.warnings]
    integrity = _integrity_by_trace(runs, traces)
    summary = {
        "format_version": FORMAT_VERSION,
        "tool_version": TOOL_VERSION,
        "runs": len(runs),
        "steps": _steps(runs),
        "checks_hold": all(check["holds"] for check in checks),
        "clocks": sorted({r.clock for r in runs}),
        "checks": checks,
        "warnings": [*found, *warnings],
        "unattributed": dict(unattributed),
        "rejections": rejections,
        "tolerance": _tolerance(traces),
        "traces": [_trace_entry(t, integrity[t.trace]) for t in traces],
        "environment": dict(manifests[0].environment) if manifests else _environment(traces),
        "settings": dict(manifests[0].settings) if manifests else {},
    }
    values: dict[str, Any] = msgspec.to_builtins(summary)
    return values


def statistics_summary(statistics: Statistics) -> dict[str, Any]:
    """Keys of summary.json, as plain values: `noise_floor`, `repeats`, `scaling`, `outliers`."""
    return {
        "noise_floor": plain(statistics.noise_floor),
        "repeats": [one.row() for one in statistics.repeats],
        "scaling": [fit.row() for fit in statistics.scaling],
        "outliers": plain(statistics.outliers),
    }


def _steps(runs: Sequence[RunSummary]) -> dict[str, int]:
    """Decode steps of all runs: the number recorded, and of the others by reason."""
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.steps)
    return dict(total)


def _integrity_by_trace(
    runs: Sequence[RunSummary], traces: Sequence[TraceSummary]
) -> dict[str, list[IntegrityResult]]:
    """Results of the integrity checks by trace, those of its runs included."""
    results: dict[str, list[IntegrityResult]] = {t.trace: list(t.checked) for t in traces}
    for run in runs:
        results.setdefault(run.trace, []).extend(run.checked)
    return results


def _levels(results: Sequence[IntegrityResult]) -> dict[str, Any]:
    """The worst level, the number of checks passed, and the codes of the others, each once."""
    codes = {
        level: sorted({r.code for r in results if r.level == level}) for level in ("WARN", "FAIL")
    }
    passed = sum(r.level == "PASS" for r in results)
    worst = next((level for level in ("FAIL", "WARN") if codes[level]), "PASS")
    return {"level": worst, "passed": passed, "warned": codes["WARN"], "failed": codes["FAIL"]}


def _trace_entry(trace: TraceSummary, checked: Sequence[IntegrityResult]) -> dict[str, Any]:
    """Entry of one trace in the summary's `traces`."""
    return {
        "trace": trace.trace,
        "has_stage_ranges": trace.has_stage_ranges,
        "all_unattributed": trace.all_unattributed,
        "stage_map": trace.stage_map or None,
        "serving": trace.serving,
        "unattributed": trace.unattributed,
        "clocks": trace.clocks,
        "integrity": {**_levels(checked), **asdict(trace.integrity)},
    }


def _tolerance(traces: Sequence[TraceSummary]) -> dict[str, int | None]:
    """To within how many ns host and device clocks agree: the least over all traces."""
    starts = [n for t in traces if (n := t.clocks.launch_to_start_ns) is not None]
    returns = [n for t in traces if (n := t.clocks.end_to_sync_return_ns) is not None]
    return {
        "launch_to_start_ns": min(starts, default=None),
        "end_to_sync_return_ns": min(returns, default=None),
    }


def _environment(traces: Sequence[TraceSummary]) -> dict[str, Any]:
    """Versions and devices that the traces name, where no manifest does."""
    versions: dict[str, Any] = {}
    for trace in traces:
        versions |= trace.versions
    return {**versions, "devices": sorted({d for t in traces for d in t.devices})}


def write_csv(samples: pa.Table, folder: Path) -> Path:
    """Write samples.csv, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "samples.csv"
    with replacing(path) as partial:
        pa_csv.write_csv(_inert(_flat(samples)), partial)
    return path


def inert_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Copy of a table for CSV: texts that a spreadsheet would take for formulas are made inert."""
    inert = frame.copy(deep=False)
    for name in frame.select_dtypes(include=["object", "string", "category"]).columns:
        inert[name] = [cell(value) if isinstance(value, str) else value for value in frame[name]]
    return inert.rename(columns=lambda name: cell(str(name)))


def _inert(table: pa.Table) -> pa.Table:
    """As `inert_frame`, for an Arrow table."""
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pa.array([v and cell(v) for v in column.to_pylist()], column.type)
        columns.append(column)
    return pa.table(columns, names=[cell(name) for name in table.column_names])


def _flat(table: pa.Table) -> pa.Table:
    """Turn nested columns into text, since CSV has no lists."""
    for i, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else str(v) for v in table[field.name].to_pylist()]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table


def write_summary(summary: Mapping[str, Any], folder: Path) -> Path:
    """Write summary.json, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "summary.json"
    write_whole(path, msgspec.json.format(msgspec.json.encode(summary), indent=2))
    return path
