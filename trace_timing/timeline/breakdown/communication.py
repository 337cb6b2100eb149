"""How much of the time in collectives is hidden by other work of the same device."""

from __future__ import annotations

import numpy as np

from trace_timing.schema.breakdown import Communication
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.breakdown.op_kinds import OP_KINDS, kinds_of_run
from trace_timing.timeline.build.intervals import NONE, cut, owners, union
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.trace.events import Trace


def communication(trace: Trace, run: RunTimeline) -> tuple[Communication, ...]:
    """Hidden and exposed time in collectives, by stage and device. Empty where the run has none.

    Of collectives that overlap, an instant counts once, for the one launched first.
    """
    is_nccl = kinds_of_run(trace, run) == OP_KINDS.index("nccl")
    ops, stages = run.ops, stages_of(run)
    stage = stage_of_key(run)[ops.key]
    rows = []
    for device in np.unique(ops.device[is_nccl]):
        here = ops.device == device
        nccl = np.flatnonzero(is_nccl & here)
        others = here & ~is_nccl
        running = owners(ops.start_ns[nccl], ops.end_ns[nccl], ops.launch_ns[nccl])
        pieces = cut(running, union(ops.start_ns[others], ops.end_ns[others]))
        owner = stage[nccl][running.tag[pieces.of]]
        for code in np.unique(stage[nccl]):
            own = owner == code
            rows.append(
                Communication(
                    stage=stages[code],
                    device=int(device),
                    nccl_ops=int((stage[nccl] == code).sum()),
                    hidden_ns=int(pieces.dur_ns[own & (pieces.by != NONE)].sum()),
                    exposed_ns=int(pieces.dur_ns[own & (pieces.by == NONE)].sum()),
                )
            )
    return tuple(rows)
