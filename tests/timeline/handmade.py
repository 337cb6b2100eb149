"""Traces and runs small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
        graph_node=none,
        wait_stream=none,
        wait_correlation=none,
    )
    return Trace(events, tuple(names), (("1", "1"),), TraceInfo(), "handmade")
