"""Tables and summary as files: Parquet, CSV, JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv

from trace_timing.atomic import replacing, write_whole
from trace_timing.inert import cell
from trace_timing.records import (
    FORMAT_VERSION,
    TOOL_VERSION,
    Doubt,
    IntegrityResult,
    Manifest,
    Rejection,
)
from trace_timing.stats.statistics import Statistics
from trace_timing.stats.trace_result import RunSummary, TraceSummary

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
    doubts: Sequence[Doubt] = (),
) -> dict[str, Any]:
    """What summary.json holds, as plain values.

    `laws` and `doubts` are flat lists that name their run; `unattributed` counts ops by reason.
    """
    unattributed: dict[str, int] = {}
    for trace in traces:
        for reason, count in trace.unattributed.items():
            unattributed[reason] = unattributed.get(reason, 0) + count
    laws = [
        {"sample_id": r.sample_id, "repeat": r.repeat, "rank": r.rank, **msgspec.to_builtins(law)}
        for r in runs
        for law in r.laws
    ]
    laws += [{"trace": t.trace, **msgspec.to_builtins(law)} for t in traces for law in t.laws]
    all_doubts = [*(d for t in traces for d in t.doubts), *(d for r in runs for d in r.doubts)]
    checked = _checked(runs, traces)
    summary = {
        "format_version": FORMAT_VERSION,
        "tool_version": TOOL_VERSION,
        "runs": len(runs),
        "steps": _steps(runs),
        "laws_hold": all(law["holds"] for law in laws),
        "clocks": sorted({r.clock for r in runs}),
        "laws": laws,
        "doubts": [*all_doubts, *doubts],
        "unattributed": unattributed,
        "rejections": rejections,
        "tolerance": _tolerance(traces),
        "traces": [_trace_entry(t, checked[t.trace]) for t in traces],
        "environment": dict(manifests[0].environment) if manifests else _environment(traces),
        "settings": dict(manifests[0].settings) if manifests else {},
    }
    plain: dict[str, Any] = msgspec.to_builtins(summary)
    return plain


def statistics_summary(statistics: Statistics) -> dict[str, Any]:
    """Keys of summary.json, as plain values: `noise_floor`, `repeats`, `scaling`, `outliers`."""
    return {
        "noise_floor": plain(statistics.noise_floor),
        "repeats": [one.row() for one in statistics.repeats],
        "scaling": [fit.row() for fit in statistics.scaling],
        "outliers": plain(statistics.outliers),
    }


def _steps(runs: Sequence[RunSummary]) -> dict[str, int]:
    """Decode steps of all runs: how many were recorded, and others by why not."""
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.steps)
    return dict(total)


def _checked(
    runs: Sequence[RunSummary], traces: Sequence[TraceSummary]
) -> dict[str, list[IntegrityResult]]:
    """Checks of integrity by trace, those of its runs with it."""
    found: dict[str, list[IntegrityResult]] = {t.trace: list(t.checked) for t in traces}
    for run in runs:
        found.setdefault(run.trace, []).extend(run.checked)
    return found


def _levels(results: Sequence[IntegrityResult]) -> dict[str, Any]:
    """How many checks passed, and the codes of the others, each once."""
    codes = {
        level: sorted({r.code for r in results if r.level == level}) for level in ("WARN", "FAIL")
    }
    passed = sum(r.level == "PASS" for r in results)
    worst = next((level for level in ("FAIL", "WARN") if codes[level]), "PASS")
    return {"level": worst, "passed": passed, "warned": codes["WARN"], "failed": codes["FAIL"]}


def _trace_entry(trace: TraceSummary, checked: Sequence[IntegrityResult]) -> dict[str, Any]:
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
    """The least of all traces: to within this, host and device times agree."""
    starts = [n for t in traces if (n := t.clocks.launch_to_start_ns) is not None]
    returns = [n for t in traces if (n := t.clocks.end_to_sync_return_ns) is not None]
    return {
        "launch_to_start_ns": min(starts, default=None),
        "end_to_sync_return_ns": min(returns, default=None),
    }


def _environment(traces: Sequence[TraceSummary]) -> dict[str, Any]:
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
    """The table for a CSV file: no text or column name that a spreadsheet takes for a formula."""
    inert = frame.copy(deep=False)
    for name in frame.select_dtypes(include=["object", "string", "category"]).columns:
        inert[name] = [cell(value) if isinstance(value, str) else value for value in frame[name]]
    return inert.rename(columns=lambda name: cell(str(name)))


def _inert(table: pa.Table) -> pa.Table:
    """As `inert_frame`, of an Arrow table."""
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pa.array([v and cell(v) for v in column.to_pylist()], column.type)
        columns.append(column)
    return pa.table(columns, names=[cell(name) for name in table.column_names])


def _flat(table: pa.Table) -> pa.Table:
    """Nested metadata as text: CSV has no lists."""
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
