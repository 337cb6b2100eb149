"""How the work of each stage divides into kinds: their times sum to the stage's, exactly."""

from __future__ import annotations

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.schema.breakdown import KindTime
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.breakdown.op_kinds import OP_KINDS, kinds_of_run
from trace_timing.timeline.build.metrics import sums
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.trace.events import NONE, Trace


def kind_times(trace: Trace, run: RunTimeline) -> tuple[KindTime, ...]:
    """Ops, their summed durations and their busy time by stage and kind.

    Ops and kernel_sum_ns follow the op's own stage. busy_ns follows the tiling: an instant in
    which several ops run belongs to the one launched first, as in tiling (docs/architecture.md).
    """
    kind = kinds_of_run(trace, run).astype(np.int64)
    stages = stages_of(run)
    count, total, busy = times_by_stage(run, kind, len(OP_KINDS))
    return tuple(
        KindTime(
            stage=stages[s],
            op_kind=OP_KINDS[k],
            gpu_ops=int(count[s, k]),
            kernel_sum_ns=int(total[s, k]),
            busy_ns=int(busy[s, k]),
        )
        for s, k in np.argwhere((count > 0) | (busy > 0))
    )


def times_by_stage(
    run: RunTimeline, group: IntArray, groups: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Ops, their summed durations and their busy time by stage and a group of each op.

    Returns:
        Three arrays of a row a stage (`stages_of`) and a column a group.
    """
    stages, stage_of = len(stages_of(run)), stage_of_key(run)
    op_code = stage_of[run.ops.key] * groups + group
    busy = np.flatnonzero(run.cells.op != NONE)
    cell_code = stage_of[run.cells.key[busy]] * groups + group[run.cells.op[busy]]
    figures = (
        np.bincount(op_code, minlength=stages * groups),
        sums(op_code, run.ops.end_ns - run.ops.start_ns, stages * groups),
        sums(cell_code, run.cells.length_ns[busy], stages * groups),
    )
    count, total, busy_ns = (figure.reshape(stages, groups) for figure in figures)
    return count, total, busy_ns
