"""Columns of `runs` and `samples` from a run's record, and from how much of it was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trace_timing import schema
from trace_timing.records.runs import RunRecord
from trace_timing.stats.latency.evidence import RecordedRun
from trace_timing.stats.latency.times import mean_times
from trace_timing.units import NS_PER_MS


def record_columns(record: RunRecord | None) -> dict[str, Any]:
    """Columns of a recorded run or control from its record; nulls without a record."""
    before: Mapping[str, Any] = (record.machine.get("before") or {}) if record else {}
    return {
        "input_tokens": record.tokens_in if record else None,
        "output_tokens": record.tokens_out if record else None,
        "ordinal": record.ordinal if record else None,
        "started_unix_ns": record.started_unix_ns if record else None,
        "probe_ns": before.get("probe_ns"),
        "load_1m": before.get("load_1m"),
        "psi_cpu_some_10s": before.get("psi_cpu_some_10s"),
        "steal_ticks": before.get("steal_ticks"),
    }


def part_columns(runs: Sequence[RecordedRun]) -> dict[str, Any]:
    """Number of recorded steps, and estimates over all steps.

    Args:
        runs: recorded runs of one sample with the same recorded steps; without any, nulls.
    """
    first = runs[0] if runs else None
    parts = [run.part for run in runs if run.part]
    estimates = mean_times([part.busy_estimate_ns for part in parts])
    ops = [part.gpu_ops_estimate for part in parts if part.gpu_ops_estimate is not None]
    recorded = None
    if first is not None:
        recorded = first.decode_steps if first.part is None else len(first.part.steps)
    return {
        "recorded_steps": recorded,
        **{
            f"{name}_busy_estimate_ms": None if (ns := estimates[name]) is None else ns / NS_PER_MS
            for name in schema.ESTIMATED_TIMES
        },
        "gpu_ops": first.gpu_ops if first else None,
        "gpu_ops_estimate": sum(ops) / len(ops) if ops else None,
    }
