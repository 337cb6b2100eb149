"""What a run's record says of it, as columns of the table `runs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_timing.records import RunRecord


def record_columns(record: RunRecord | None) -> dict[str, Any]:
    """What a run's record says of it, for runs of either role; nulls without a record."""
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
