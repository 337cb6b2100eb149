"""Link GPU ops to the API calls that launched them, by correlation id."""

from __future__ import annotations

import numpy as np

from trace_timing.arrays import IntArray, order_by
from trace_timing.errors import AttributionError
from trace_timing.memoize import cached_per_object
from trace_timing.trace.events import GPU_OP_KINDS, NONE, Events, Kind, joins


@cached_per_object
def gpu_op_rows(events: Events) -> IntArray:
    """Rows of kernels, memcpys and memsets, ordered by start (ties: file order)."""
    rows = events.rows(*GPU_OP_KINDS)
    return rows[np.argsort(events.start_ns[rows], kind="stable")]


@cached_per_object
def launch_rows(events: Events) -> IntArray:
    """The row of the API call that launched each of the m `gpu_op_rows`; NONE where there is none.

    Of several calls with one id (a runtime call around a driver call) the outermost, that is the
    first to begin, is the launch.

    Raises:
        AttributionError: two calls, neither inside the other, have the id of an op.
    """
    op_rows = gpu_op_rows(events)
    calls = events.rows(Kind.CALL)
    calls = calls[joins(events.correlation[calls])]
    if not len(calls):
        return np.full(len(op_rows), NONE, np.int64)
    order = order_by(events.correlation[calls], events.start_ns[calls])
    calls = calls[order]
    ids = events.correlation[calls]
    wanted = events.correlation[op_rows]
    at = np.minimum(np.searchsorted(ids, wanted, side="left"), len(ids) - 1)
    hit = ids[at] == wanted
    _refuse_reused(events, calls, ids, wanted)
    return np.where(hit, calls[at], NONE)


def _refuse_reused(events: Events, calls: IntArray, ids: IntArray, wanted: IntArray) -> None:
    """Refuse ids of ops that unnested calls share, as in a file of two recordings.

    Args:
        calls: rows of calls by correlation id and begin, `ids` those ids.
        wanted: the ops' ids.
    """
    again = np.flatnonzero(ids[1:] == ids[:-1]) + 1
    if not len(again):
        return
    outer = calls[np.searchsorted(ids, ids[again], side="left")]
    inner = calls[again]
    apart = events.start_ns[inner] >= events.end_ns[outer]
    apart |= events.thread[inner] != events.thread[outer]
    apart &= np.isin(ids[again], wanted)
    if apart.any():
        which, begin = int(ids[again[apart][0]]), int(events.start_ns[inner[apart][0]])
        raise AttributionError(
            "calls that are not nested have one correlation id, so it is unknown which of them "
            "launched the GPU ops of that id",
            why=f"{int(apart.sum())} such calls, the first with id {which} at {begin} ns",
            remedy="give each recording (each process, each session) as a trace of its own",
        )
