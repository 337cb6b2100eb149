"""Correlation ids: which API call launched which GPU op."""

from __future__ import annotations

import numpy as np

from trace_timing.memo import once
from trace_timing.trace.events import GPU_OP_KINDS, NONE, Events, Kind
from trace_timing.units import IntArray, order_by


@once
def gpu_op_rows(events: Events) -> IntArray:
    """Rows of kernels, memcpys and memsets, ordered by start (ties: file order)."""
    rows = events.rows(*GPU_OP_KINDS)
    return rows[np.argsort(events.start_ns[rows], kind="stable")]


@once
def launch_rows(events: Events) -> IntArray:
    """The row of the API call that launched each of the m `gpu_op_rows`; NONE where there is none.

    Of several calls with one id (a runtime call around a driver call) the outermost, that is the
    first to begin, is the launch.
    """
    op_rows = gpu_op_rows(events)
    calls = events.rows(Kind.CALL)
    calls = calls[events.correlation[calls] != NONE]
    if not len(calls):
        return np.full(len(op_rows), NONE, np.int64)
    order = order_by(events.correlation[calls], events.start_ns[calls])
    calls = calls[order]
    ids = events.correlation[calls]
    wanted = events.correlation[op_rows]
    found = np.minimum(np.searchsorted(ids, wanted, side="left"), len(ids) - 1)
    hit = (ids[found] == wanted) & (wanted != NONE)
    return np.where(hit, calls[found], NONE)
