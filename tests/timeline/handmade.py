"""Traces and runs small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trace_timing.records.runs import Clock
from trace_timing.timeline.build.model import (
    HostTimeline,
    RunOps,
    RunTimeline,
    StageKey,
    StageRange,
)
from trace_timing.timeline.build.runs import tile_ops
from trace_timing.trace.events import NONE, Events, Kind, Trace, TraceInfo

#: kind, name, start_ns, end_ns
Op = tuple[Kind, str, int, int]
#: name, start_ns, end_ns
Call = tuple[str, int, int]


def make_trace(
    ops: Sequence[Op] = (),
    calls: Sequence[Call] = (),
    *,
    streams: Sequence[int] | None = None,
    devices: Sequence[int] | None = None,
    correlations: Sequence[int] | None = None,
) -> Trace:
    """A trace of these device ops, then these host calls, all of one thread.

    Op i and call i share correlation id i unless `correlations` gives the ops' own.
    """
    names: list[str] = []
    rows = [(*op, True) for op in ops]
    rows += [(Kind.CALL, name, start, end, False) for name, start, end in calls]
    n, m = len(rows), len(ops)
    for row in rows:
        if row[1] not in names:
            names.append(row[1])
    none = np.full(n, NONE, np.int64)
    correlation = [*(correlations or range(m)), *range(n - m)]
    events = Events(
        kind=np.array([row[0] for row in rows], np.uint8),
        name=np.array([names.index(row[1]) for row in rows], np.int32),
        start_ns=np.array([row[2] for row in rows], np.int64),
        dur_ns=np.array([row[3] - row[2] for row in rows], np.int64),
        thread=np.array([NONE if row[4] else 0 for row in rows], np.int32),
        device=np.array([*(devices or [0] * m), *[NONE] * (n - m)], np.int32),
        stream=np.array([*(streams or [7] * m), *[NONE] * (n - m)], np.int64),
        correlation=np.array(correlation, np.int64),
        size_bytes=none,
        graph=none,
        graph_node=none,
        wait_stream=none,
        wait_correlation=none,
        process=none.astype(np.int32),
    )
    return Trace(events, tuple(names), (("1", "1"),), TraceInfo(), "handmade")


def make_run(
    trace: Trace,
    keys: Sequence[StageKey],
    window: tuple[int, int],
    op_keys: Sequence[int],
    host: Sequence[tuple[int, int]],
    *,
    clock: Clock = "device",
) -> RunTimeline:
    """A run of all the trace's ops, each launched by the call of its correlation id.

    host holds (boundary, key); the last key is that of instants in no stage.
    """
    events = trace.events
    rows = events.rows(Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET)
    calls = {int(events.correlation[row]): row for row in events.rows(Kind.CALL)}
    launch = np.array([calls[int(c)] for c in events.correlation[rows]], np.int64)
    order = np.argsort(events.start_ns[rows], kind="stable")
    boundary, inner = (np.array(part) for part in zip(*host, strict=True))
    timeline = HostTimeline(boundary, inner.astype(np.int32))
    ops = RunOps(
        row=rows[order],
        start_ns=events.start_ns[rows][order],
        end_ns=events.end_ns[rows][order],
        launch_ns=events.start_ns[launch][order],
        launch_row=launch[order],
        key=np.array(op_keys, np.int32)[order],
        device=events.device[rows][order],
    )
    cells = tile_ops(window, ops, timeline, outside_key=len(keys) - 1)
    return RunTimeline(
        ordinal=0,
        window_start_ns=window[0],
        window_end_ns=window[1],
        generate_start_ns=window[0],
        generate_end_ns=window[1],
        generating_thread=0,
        keys=tuple(keys),
        ranges=tuple(StageRange(key=k, thread=0, start_ns=a, end_ns=a) for a, k in host if k >= 0),
        host=timeline,
        ops=ops,
        cells=cells,
        device_cells={0: cells},
        clock=clock,
    )


#: Prefill waits for a copy; decode allocates, then overlaps two streams. 900 ns in all:
#: prefill 0…400 (busy 150…350), decode 400…850 (busy 510…800), other 850…900.
TWO_STAGES = make_trace(
    ops=[
        (Kind.KERNEL, "nvjet_a", 150, 300),
        (Kind.MEMCPY, "Memcpy DtoH (Device -> Pinned)", 300, 350),
        (Kind.KERNEL, "nvjet_a", 510, 700),
        (Kind.KERNEL, "elementwise_kernel", 600, 800),
    ],
    calls=[
        ("cudaLaunchKernel", 100, 120),
        ("cudaMemcpyAsync", 130, 140),
        ("cudaLaunchKernel", 500, 520),
        ("cudaLaunchKernel", 530, 540),
        ("cudaStreamSynchronize", 200, 380),
        ("cudaMalloc", 420, 480),
        ("cudaDeviceSynchronize", 700, 820),
    ],
    streams=[7, 7, 7, 8],
)
TWO_STAGES_RUN = make_run(
    TWO_STAGES,
    [StageKey("prefill"), StageKey("decode", 1), StageKey("other")],
    (0, 900),
    op_keys=[0, 0, 1, 1],
    host=[(0, 0), (400, 1), (850, -1)],
)
