"""Make the rows of `stages`, `device_stages`, `steps` and `kernels` (trace_timing.schema)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from trace_timing import schema
from trace_timing.arrays import BoolArray, IntArray, number_codes
from trace_timing.schema.stages import BatchSize, KernelTime, OpWord, StageSteps
from trace_timing.stages import NUMBERED_STAGES, STAGES, Stage
from trace_timing.timeline.build.metrics import (
    DeviceFigures,
    HostFigures,
    device_figures,
    groups_by_stage,
    host_figures,
    run_figures,
    sums,
)
from trace_timing.timeline.build.model import Cells, RunTimeline, forward_keys
from trace_timing.timeline.build.recorded_part import (
    estimate_of_stage,
    partly_recorded,
    recorded_keys,
    recorded_steps,
)
from trace_timing.timeline.build.runs import TraceTimeline
from trace_timing.trace.events import Kind, Trace

_OP_WORDS: Mapping[Kind, OpWord] = {
    Kind.KERNEL: "kernel",
    Kind.MEMCPY: "memcpy",
    Kind.MEMSET: "memset",
}
_NOTHING = np.empty(0, np.int64)
_NO_CELLS = Cells(
    _NOTHING, _NOTHING.astype(np.int32), _NOTHING.astype(np.uint8), _NOTHING, _NOTHING
)


class RunKey(NamedTuple):
    """What identifies a run in every table; `repeat` is None for ops in no run."""

    sample_id: str
    repeat: int | None
    rank: int = 0

    def columns(self, rows: int) -> dict[str, list[Any]]:
        """The key columns, the same in each of `rows` rows."""
        return {
            "sample_id": [self.sample_id] * rows,
            "repeat": [self.repeat] * rows,
            "rank": [self.rank] * rows,
        }


@dataclass(frozen=True)
class Columns:
    """One table's rows as lists by column name, to be joined with those of other runs."""

    table: schema.Table
    data: Mapping[str, list[Any]]

    def arrow(self) -> pa.Table:
        """As an Arrow table; columns that nothing has filled are null."""
        rows = len(next(iter(self.data.values()), []))
        full = {c.name: self.data.get(c.name, [None] * rows) for c in self.table}
        return pa.table(full, schema=self.table.arrow())


def stage_columns(
    trace: Trace,
    timeline: TraceTimeline,
    run: RunTimeline,
    key: RunKey,
) -> Columns:
    """`stages`: one row a stage that the run has, tiled over the union of its devices."""
    groups = groups_by_stage(run.keys, STAGES)
    device = run_figures(run).grouped(groups, len(STAGES))
    host = host_figures(trace, timeline.hosts, run).grouped(groups, len(STAGES))
    present = (
        _present(device)
        | (host.host_ns > 0)
        | (host.syncs + host.allocs > 0)
        | _ranged(run, groups, len(STAGES))
    )
    rows = np.flatnonzero(present)
    reason = ",".join(sorted(timeline.unattributed)) or _no_ranges(timeline)
    data = {
        **key.columns(len(rows)),
        "stage": [STAGES[r] for r in rows],
        **_known(run, rows, _device_columns(device, rows, run.clock)),
        **_host_columns(host, rows),
        **_step_columns_of_stages(run, [STAGES[r] for r in rows]),
        "reason": [reason if STAGES[r] == "unattributed" else None for r in rows],
        "clock": [run.clock] * len(rows),
    }
    return Columns(schema.STAGES, data)


def _no_ranges(timeline: TraceTimeline) -> str | None:
    return None if timeline.has_ranges else "no_stage_ranges"


def stray_columns(timeline: TraceTimeline, key: RunKey) -> Columns:
    """`stages`: the row of unattributed ops that begin in no run's window, where there are any."""
    groups = groups_by_stage(timeline.keys, STAGES)
    of_keys = device_figures(_NO_CELLS, timeline.stray, len(timeline.keys))
    device = of_keys.grouped(groups, len(STAGES))
    rows = np.flatnonzero(device.gpu_ops)
    data = {
        **key.columns(len(rows)),
        "stage": [STAGES[r] for r in rows],
        **_device_columns(device, rows, "device"),
        **dict.fromkeys(("window_ns", "busy_ns", "idle_ns", "queued_ns"), [None] * len(rows)),
        **{field.name: [0] * len(rows) for field in fields(HostFigures)},
        "recorded": [True] * len(rows),
        "reason": [",".join(sorted(timeline.unattributed))] * len(rows),
        "clock": ["device"] * len(rows),
    }
    return Columns(schema.STAGES, data)


def device_columns(run: RunTimeline, key: RunKey) -> Columns:
    """`device_stages`: one row a device and stage, each device tiled alone."""
    groups = groups_by_stage(run.keys, STAGES)
    data: dict[str, list[Any]] = {}
    for device in run.device_cells:
        figures = _of_device(run, device).grouped(groups, len(STAGES))
        rows = np.flatnonzero(_present(figures))
        part = {
            **key.columns(len(rows)),
            "device": [device] * len(rows),
            "stage": [STAGES[r] for r in rows],
            **_known(run, rows, _device_columns(figures, rows, run.clock)),
            "recorded": _whole(run, rows),
            "clock": [run.clock] * len(rows),
        }
        for name, values in part.items():
            data.setdefault(name, []).extend(values)
    return Columns(schema.DEVICE_STAGES, data)


def _of_device(run: RunTimeline, device: int) -> DeviceFigures:
    if len(run.device_cells) == 1:  # its tiling is the run's
        return run_figures(run)
    ops = run.ops.take(run.ops.device == device)
    return device_figures(run.device_cells[device], ops, len(run.keys))


def step_columns(
    trace: Trace,
    timeline: TraceTimeline,
    run: RunTimeline,
    key: RunKey,
) -> Columns:
    """`steps`: one row a numbered forward of the run (`model.forward_keys`), in order."""
    device, host = run_figures(run), host_figures(trace, timeline.hosts, run)
    rows = np.array(forward_keys(run), np.int64)
    batches = {r.key: r.batch or BatchSize() for r in reversed(run.ranges)}
    data = {
        **key.columns(len(rows)),
        "stage": [run.keys[i].stage for i in rows],
        "step": [run.keys[i].step for i in rows],
        **{name: [getattr(batches[i], name) for i in rows] for name in BatchSize.__struct_fields__},
        "recorded": [key not in run.unrecorded for key in rows.tolist()],
        "unrecorded_reason": [run.unrecorded.get(key) for key in rows.tolist()],
        "usable": [False] * len(rows),
        **_of_recorded(run, rows, _device_columns(device, rows, run.clock)),
        **_of_recorded(run, rows, _host_columns(host, rows)),
        "interval_ns": step_intervals(run, rows),
        "clock": [run.clock] * len(rows),
    }
    return Columns(schema.STEPS, data)


def step_intervals(run: RunTimeline, key_rows: IntArray) -> list[int | None]:
    """Ns from the begin of each of these forwards to that of the next forward of any kind.

    Of the last one to the end of generate(); None without a generate range.
    """
    forwards = forward_keys(run)
    begins = {r.key: r.start_ns for r in reversed(run.ranges)}
    last = [] if run.generate_end_ns is None else [run.generate_end_ns]
    ends = dict(zip(forwards, [*(begins[key] for key in forwards[1:]), *last], strict=False))
    return [ends[key] - begins[key] if key in ends else None for key in key_rows.tolist()]


def kernel_times(trace: Trace, run: RunTimeline) -> list[KernelTime]:
    """`kernels`: one row a stage and op name, the longest total first within a stage.

    Of a partly recorded stage, those of its recorded steps.
    """
    events, ops = trace.events, run.ops.take(recorded_keys(run)[run.ops.key])
    stage = groups_by_stage(run.keys, STAGES)[ops.key]
    name, op_kind = events.name[ops.row].astype(np.int64), events.kind[ops.row]
    code = (stage * len(trace.names) + name) * len(Kind) + op_kind
    length = ops.end_ns - ops.start_ns
    used, place = number_codes(code)
    count, total = np.bincount(place, minlength=len(used)), sums(place, length, len(used))
    longest = np.zeros(len(used), np.int64)
    np.maximum.at(longest, place, length)
    rest, op_kind = np.divmod(used, len(Kind))
    stage, name = np.divmod(rest, len(trace.names))
    order = np.lexsort((name, -total, stage))
    stage, name, op_kind = stage[order], name[order], op_kind[order]
    figures = zip(
        stage.tolist(),
        name.tolist(),
        op_kind.tolist(),
        count[order].tolist(),
        total[order].tolist(),
        longest[order].tolist(),
        strict=True,
    )
    return [
        KernelTime(
            stage=STAGES[s],
            name=trace.names[n],
            op=_OP_WORDS[Kind(k)],
            count=count,
            total_ns=total,
            mean_ns=total / count,
            max_ns=longest,
        )
        for s, n, k, count, total, longest in figures
    ]


def _present(figures: DeviceFigures) -> BoolArray:
    """Which stages have device time or ops."""
    return (figures.window_ns > 0) | (figures.gpu_ops > 0)


def _ranged(run: RunTimeline, groups: IntArray, count: int) -> BoolArray:
    """Which stages the run has ranges of."""
    present = np.zeros(count, np.bool_)
    present[[groups[item.key] for item in run.ranges if item.key is not None]] = True
    return present


def _device_columns(figures: DeviceFigures, rows: IntArray, clock: str) -> dict[str, list[Any]]:
    """Columns from the device's timeline; null where there is none."""
    empty = figures.gpu_ops[rows] == 0
    span = np.where(empty, 0, figures.last_end_ns[rows] - figures.first_start_ns[rows])
    columns: dict[str, list[Any]] = {
        "window_ns": figures.window_ns[rows].tolist(),
        "busy_ns": figures.busy_ns[rows].tolist(),
        "idle_ns": figures.idle_ns[rows].tolist(),
        "queued_ns": figures.queued_ns[rows].tolist(),
        "kernel_sum_ns": figures.kernel_sum_ns[rows].tolist(),
        "span_ns": [None if e else int(s) for e, s in zip(empty, span, strict=True)],
        "gpu_ops": figures.gpu_ops[rows].tolist(),
        "launches": figures.launches[rows].tolist(),
    }
    if clock == "host":
        # Nothing is known of a device that left no timeline: null, not 0.
        unknown = ("busy_ns", "idle_ns", "queued_ns", "kernel_sum_ns", "span_ns")
        columns.update(dict.fromkeys(unknown, [None] * len(rows)))
    return columns


def _host_columns(figures: HostFigures, rows: IntArray) -> dict[str, list[Any]]:
    return {field.name: getattr(figures, field.name)[rows].tolist() for field in fields(figures)}


def _whole(run: RunTimeline, rows: IntArray) -> list[bool]:
    """Whether each of these stages was recorded as a whole."""
    partly = partly_recorded(run)
    return [STAGES[r] not in partly for r in rows]


def _known(
    run: RunTimeline, rows: IntArray, columns: Mapping[str, list[Any]]
) -> dict[str, list[Any]]:
    """The columns of stages, with the device's times null where a stage was partly recorded."""
    unknown = ("busy_ns", "idle_ns", "queued_ns")
    whole = _whole(run, rows)
    return {
        name: [v if w else None for v, w in zip(values, whole, strict=True)]
        if name in unknown
        else values
        for name, values in columns.items()
    }


def _of_recorded(
    run: RunTimeline, keys: IntArray, columns: Mapping[str, list[Any]]
) -> dict[str, list[Any]]:
    """The columns of steps; where a step was not recorded, all but window and host time null."""
    known = recorded_keys(run)[keys]
    return {
        name: values
        if name in ("window_ns", "host_ns")
        else [v if k else None for v, k in zip(values, known, strict=True)]
        for name, values in columns.items()
    }


def _step_columns_of_stages(run: RunTimeline, stages: Sequence[Stage]) -> dict[str, list[Any]]:
    partly = partly_recorded(run)
    figures = None if run.clock == "host" else run_figures(run)
    rows = [_stage_steps(run, stage, stage in partly, figures) for stage in stages]
    return {n: [getattr(row, n) for row in rows] for n in StageSteps.__struct_fields__}


def _stage_steps(
    run: RunTimeline, stage: Stage, in_part: bool, figures: DeviceFigures | None
) -> StageSteps:
    """How much of a stage was recorded, and its figures per step."""
    row = StageSteps(recorded=not in_part)
    if stage in NUMBERED_STAGES:
        steps = recorded_steps(run, stage)
        row = replace(row, steps=len(steps.steps), recorded_steps=int(steps.recorded.sum()))
        if figures is not None:
            row = replace(
                row,
                busy_per_step_ns=steps.per_step(figures.busy_ns),
                kernel_sum_per_step_ns=steps.per_step(figures.kernel_sum_ns),
                gpu_ops_per_step=steps.per_step(figures.gpu_ops),
            )
    if in_part and figures is not None:
        row = replace(
            row,
            busy_estimate_ns=estimate_of_stage(run, stage, figures.busy_ns),
            gpu_ops_estimate=estimate_of_stage(run, stage, figures.gpu_ops),
        )
    return row


def join(parts: Sequence[Columns], table: schema.Table) -> pa.Table:
    """The rows of several runs as one Arrow table of the schema."""
    if not parts:
        return table.arrow().empty_table()
    return pa.concat_tables([part.arrow() for part in parts])
