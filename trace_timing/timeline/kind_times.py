"""How the work of each stage divides into kinds: their times sum to the stage's, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.records import Stage
from trace_timing.timeline.grouping import stage_of_key, stages_of
from trace_timing.timeline.intervals import NONE, Intervals, cut, owners
from trace_timing.timeline.kinds import OP_KINDS, OpKind, op_kinds
from trace_timing.timeline.layout import RunTimeline, State
from trace_timing.trace.events import Trace
from trace_timing.units import IntArray


@dataclass(frozen=True, kw_only=True)
class KindTime:
    """A row of the table `kinds`: one kind of work in one stage."""

    stage: Stage
    op_kind: OpKind
    gpu_ops: int
    kernel_sum_ns: int
    busy_ns: int


def kind_times(trace: Trace, run: RunTimeline) -> tuple[KindTime, ...]:
    """Ops, their summed durations and their busy time by stage and kind.

    Ops and kernel_sum_ns follow the op's own stage. busy_ns follows the tiling: an instant in
    which several ops run belongs to the one launched first, as in design section 2.
    """
    kind = op_kinds(trace, run.ops.row).astype(np.int64)
    stages = stages_of(run)
    code_of_key = stage_of_key(run)
    shape = (len(stages), len(OP_KINDS))
    count, total, busy = (np.zeros(shape, np.int64) for _ in range(3))
    stage = code_of_key[run.ops.key]
    np.add.at(count, (stage, kind), 1)
    np.add.at(total, (stage, kind), run.ops.end_ns - run.ops.start_ns)
    tile, op, dur_ns = busy_pieces(run)
    np.add.at(busy, (code_of_key[run.tiles.key[tile]], kind[op]), dur_ns)
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


def busy_pieces(run: RunTimeline) -> tuple[IntArray, IntArray, IntArray]:
    """Cut the busy tiles by the op that an instant belongs to: the one launched first.

    Returns:
        p numbers of tiles, p numbers of ops, p lengths in ns; those of a tile sum to it.
    """
    tiles, ops = run.tiles, run.ops
    busy = np.flatnonzero(tiles.state == State.BUSY)
    running = owners(ops.start_ns, ops.end_ns, ops.launch_ns)
    pieces = cut(Intervals(tiles.start_ns[busy], tiles.end_ns[busy], busy), running)
    if (pieces.by == NONE).any():
        raise AssertionError("a busy instant in which no op of the run runs: tiling is wrong")
    return busy[pieces.of], running.tag[pieces.by], pieces.dur_ns
