"""How a stage waits for its own results: what the device does between two synchronizing calls.

A loop that asks the device a question in every iteration (how many tokens has this expert?) shows
as many short stretches of ops, each closed by a copy to the host and a synchronizing call.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

import numpy as np

from trace_timing.arrays import BoolArray, IntArray, marks_until
from trace_timing.schema.breakdown import SyncLoop
from trace_timing.timeline.breakdown.api_calls import CALL_CLASSES, calls_of_run
from trace_timing.timeline.breakdown.grouping import forwards, stage_of_key, stages_of
from trace_timing.timeline.breakdown.op_kinds import OP_KINDS, kinds_of_run
from trace_timing.timeline.build.model import RunTimeline, State
from trace_timing.trace.events import Trace

#: What `nonzero`, `where(mask)` and `masked_select` launch: CUB's select, PyTorch's own compaction.
COMPACTION = re.compile(r"deviceselect|devicecompact|nonzero|flag_kernel", re.IGNORECASE)


def sync_loops(trace: Trace, run: RunTimeline) -> tuple[SyncLoop, ...]:
    """One row for each stage in which the generating thread synchronizes."""
    calls = calls_of_run(trace, run)
    chosen = calls.call_class == CALL_CLASSES.index("sync")
    at, name = calls.start_ns[chosen], calls.name[chosen]
    key = run.host.at_each(at)
    order = np.argsort(run.ops.launch_ns, kind="stable")
    before = marks_until(at, run.ops.launch_ns[order])
    ops = np.bincount(before, minlength=len(at) + 1)[: len(at)]
    marks = {what: _seen(before, flag[order], len(at)) for what, flag in _flags(trace, run).items()}
    whole_run = Counter(name.tolist())
    drained = _drained(run, calls.end_ns[chosen])
    rows = []
    for code, stage in enumerate(stages_of(run)):
        own = (key >= 0) & (stage_of_key(run)[np.maximum(key, 0)] == code)
        if not own.any():
            continue
        most, count = Counter(name[own].tolist()).most_common(1)[0]
        rows.append(
            SyncLoop(
                stage=stage,
                syncs=int(own.sum()),
                call=trace.names[most],
                call_count=count,
                run_call_count=whole_run[most],
                forwards=forwards(run, stage),
                ops_between_median=float(np.median(ops[own])),
                drained_ns=int(drained[code]),
                **{what: int(seen[own].sum()) for what, seen in marks.items()},
            )
        )
    return tuple(rows)


def _drained(run: RunTimeline, returns_ns: IntArray) -> IntArray:
    """Idle ns of each stage in those gaps between busy instants in which a sync returned."""
    tiles = run.tiles
    gap = np.cumsum(tiles.state == State.BUSY)
    idle = tiles.state != State.BUSY
    # A return at the very end of an op lies in the gap that begins there.
    at = np.searchsorted(tiles.end_ns, returns_ns, side="right")
    at = at[at < len(tiles)]
    holds = np.zeros(int(gap.max(initial=0)) + 1, np.bool_)
    holds[gap[at[idle[at]]]] = True
    chosen = idle & holds[gap]
    total = np.zeros(len(stages_of(run)), np.int64)
    np.add.at(total, stage_of_key(run)[tiles.key[chosen]], (tiles.end_ns - tiles.start_ns)[chosen])
    return total


def _flags(trace: Trace, run: RunTimeline) -> dict[str, BoolArray]:
    """Field of SyncLoop → whether each of the run's ops is of the kind that it counts."""
    kind = kinds_of_run(trace, run)
    name = trace.events.name[run.ops.row]
    compaction = np.array([_compacts(text) for text in trace.names], np.bool_)
    return {
        "after_compaction": compaction[name] if len(name) else np.zeros(0, np.bool_),
        "after_gemm": kind == OP_KINDS.index("gemm"),
        "after_copy_to_host": kind == OP_KINDS.index("memcpy_dtoh"),
    }


@lru_cache(maxsize=4096)
def _compacts(name: str) -> bool:
    return bool(COMPACTION.search(name))


def _seen(before: IntArray, flag: BoolArray, syncs: int) -> BoolArray:
    """Whether a flagged op was launched between each sync and its predecessor."""
    seen = np.zeros(syncs + 1, np.bool_)
    seen[before[flag]] = True
    return seen[:syncs]
