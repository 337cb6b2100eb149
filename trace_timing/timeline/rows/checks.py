"""The five checks on the rows of the tables; each must hold exactly, else there is a warning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from trace_timing.records.findings import CheckName, CheckResult
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.timeline.rows.tables import RunKey
from trace_timing.trace.events import GPU_OP_KINDS, Trace

_NEVER_NEGATIVE = (
    "window_ns",
    "busy_ns",
    "idle_ns",
    "queued_ns",
    "kernel_sum_ns",
    "span_ns",
    "sync_wait_ns",
    "alloc_ns",
    "host_ns",
)


def checked_tables(
    tables: Mapping[str, pa.Table], key: RunKey | None
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The tables that `run_checks` looks at: stages, device_stages, steps.

    Args:
        key: of the run whose rows are taken; None where all rows are one run's.
    """
    found = (tables["stages"], tables["device_stages"], tables["steps"])
    return found if key is None else tuple(_of_run(table, key) for table in found)


def _of_run(table: pa.Table, key: RunKey) -> pa.Table:
    # Without a record, each run is a sample of its own with repeat 0.
    own = pc.equal(table["sample_id"], key.sample_id)
    return table.filter(pc.and_(own, pc.equal(table["repeat"], key.repeat)))


def run_checks(
    run: RunTimeline, stages: pa.Table, device_stages: pa.Table, steps: pa.Table
) -> tuple[CheckResult, ...]:
    """`windows_sum`, `busy_and_idle` and `nothing_negative` on one run's rows.

    Partly recorded stages have no busy time, so `busy_and_idle` looks at their steps.

    Args:
        stages, device_stages, steps: rows of this run alone.
    """
    window = run.window_end_ns - run.window_start_ns
    results = [_sums_to("windows_sum", "window", total(stages, "window_ns"), window)]
    for device in sorted(run.device_cells):
        rows = device_stages.filter(pc.equal(device_stages["device"], device))
        results.append(
            _sums_to("windows_sum", f"window of device {device}", total(rows, "window_ns"), window)
        )
    results += [_busy_and_idle("stages", stages), _busy_and_idle("device_stages", device_stages)]
    if run.unrecorded:
        results.append(_busy_and_idle("steps", steps))
    results.append(_no_negative(stages))
    return tuple(results)


def trace_checks(trace: Trace, stages: pa.Table) -> tuple[CheckResult, ...]:
    """`kernels_sum` and `every_op_placed` over all rows of a trace, unattributed ones included."""
    rows = trace.events.rows(*GPU_OP_KINDS)
    durations = int(trace.events.dur_ns[rows].sum())
    unattributed = stages.filter(pc.equal(stages["stage"], "unattributed"))
    silent = unattributed["reason"].null_count
    in_stages = total(stages, "gpu_ops")
    return (
        _sums_to("kernels_sum", "kernel sum", total(stages, "kernel_sum_ns"), durations),
        CheckResult(
            check="every_op_placed",
            holds=in_stages == len(rows) and not silent,
            left_ns=None,
            right_ns=None,
            detail=f"{in_stages} of {len(rows)} GPU ops in a stage or unattributed with a reason",
        ),
    )


def total(table: pa.Table, column: str) -> int:
    """Sum of a column, nulls skipped."""
    return int(pc.sum(table[column]).as_py() or 0)


def _sums_to(check: CheckName, what: str, left: int, right: int) -> CheckResult:
    detail = f"sum of rows = {what}" if left == right else f"{what} missed by {left - right} ns"
    return CheckResult(
        check=check, holds=left == right, left_ns=left, right_ns=right, detail=detail
    )


def _busy_and_idle(name: str, rows: pa.Table) -> CheckResult:
    known = rows.filter(pc.and_(pc.is_valid(rows["busy_ns"]), pc.is_valid(rows["window_ns"])))
    both = pc.add(known["busy_ns"], known["idle_ns"])
    broken = int(pc.sum(pc.not_equal(both, known["window_ns"])).as_py() or 0)
    return CheckResult(
        check="busy_and_idle",
        holds=not broken,
        left_ns=total(known, "busy_ns") + total(known, "idle_ns"),
        right_ns=total(known, "window_ns"),
        detail=f"busy + idle = window in {len(known) - broken} of {len(known)} rows of {name}",
    )


def _no_negative(stages: pa.Table) -> CheckResult:
    negative: Sequence[str] = [
        f"{row['stage']}.{name} = {row[name]}"
        for row in stages.select(["stage", *_NEVER_NEGATIVE]).to_pylist()
        for name in _NEVER_NEGATIVE
        if row[name] is not None and row[name] < 0
    ]
    return CheckResult(
        check="nothing_negative",
        holds=not negative,
        left_ns=None,
        right_ns=None,
        detail="no figure is negative" if not negative else "; ".join(negative),
    )
