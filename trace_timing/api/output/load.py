"""Load tables from a report directory, or by analysing a capture or traces."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from trace_timing.api.output.output_folder import SUMMARY, SWAP, read_verified
from trace_timing.records.encoding import check_format
from trace_timing.stats.comparison.machine_state import state_of_runs, state_rows


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The tables of trace_timing.schema, and the conditions that they were made under."""

    source: str
    samples: pd.DataFrame
    runs: pd.DataFrame
    stages: pd.DataFrame
    steps: pd.DataFrame
    kernels: pd.DataFrame
    #: The rows of `steps` from servers' traces.
    served: pd.DataFrame
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: The machine's state before each control (machine_state.state_rows).
    state: pd.DataFrame = field(default_factory=lambda: state_rows(()))


def load(path: str, *, stages: str | None = None) -> Loaded:
    """Read the tables of a report directory, or analyse the path.

    Args:
        path: an output of `analyze -o`, or anything that `analyze` takes.
        stages: as in `analyze`; ignored for a report.
    Raises:
        TraceTimingError: nothing there can be read.
    """
    folder = Path(path)
    if (folder / "samples.parquet").is_file() or list(folder.glob(f".*{SWAP}")):
        return _from_report(folder)
    from trace_timing.api.analysis.analyze import analyze
    from trace_timing.stats.capture.step_summaries import served_steps

    analysis = analyze(path, stages=stages)
    return Loaded(
        source=path,
        samples=analysis.samples,
        runs=analysis.runs,
        stages=analysis.stages,
        steps=analysis.steps,
        kernels=analysis.kernels,
        served=served_steps(analysis.steps, analysis.run_summaries, analysis.traces),
        state=state_of_runs(analysis.runs),
        **_conditions(analysis.summary()),
    )


def _from_report(folder: Path) -> Loaded:
    """Load a report directory, verified by its digests."""
    names = ("samples", "runs", "stages", "steps", "kernels")
    file = folder / SUMMARY
    if file.is_file():
        check_format(file.read_bytes(), source=str(file))
    summary, files = read_verified(folder, [f"{name}.parquet" for name in names])
    from trace_timing.stats.capture.step_summaries import served_steps_of_tables

    tables = {name: pd.read_parquet(io.BytesIO(files[f"{name}.parquet"])) for name in names}
    return Loaded(
        source=str(folder),
        samples=tables["samples"],
        runs=tables["runs"],
        stages=tables["stages"],
        steps=tables["steps"],
        kernels=tables["kernels"],
        served=served_steps_of_tables(tables["steps"], tables["runs"], _serving(summary)),
        state=state_of_runs(tables["runs"]),
        **_conditions(summary),
    )


def _serving(summary: Mapping[str, Any]) -> set[str]:
    """Names of the traces that were read as a server's; none in older reports."""
    return {trace["trace"] for trace in summary.get("traces") or () if trace.get("serving")}


def _conditions(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "environment": summary.get("environment") or {},
        "settings": summary.get("settings") or {},
    }
