"""Tiling: every instant of a window goes to exactly one stage (docs/architecture.md).

The window is cut at every instant where something changes. A cell that an op covers belongs to the
op launched first among those running; an idle cell with work queued, to the stage of the next op
to start; an idle cell with an empty queue, to the stage that the host is in.
"""

from __future__ import annotations

import numpy as np

from trace_timing.arrays import IntArray, count_until, distinct_and_places, order_by
from trace_timing.timeline.build.intervals import NONE, first_covering
from trace_timing.timeline.build.model import Cells, HostTimeline, Keys, State


def tile(
    window: tuple[int, int],
    start_ns: IntArray,
    end_ns: IntArray,
    launch_ns: IntArray,
    key: Keys,
    host: HostTimeline,
    *,
    outside_key: int,
) -> Cells:
    """Cut a window into adjoining intervals, each of one stage and state.

    Args:
        window: begin and end in ns; ops are clipped to it.
        start_ns, end_ns, launch_ns, key: m ops, in any order; several may overlap.
        host: the stages of the generating thread.
        outside_key: the key where the host is in no stage (`other`).
    Returns:
        Cells that cover the window exactly.
    """
    start, end = window
    if end <= start:
        return _no_cells()
    instants = np.concatenate([start_ns, end_ns, launch_ns, host.boundary_ns, [start, end]])
    edges, place = distinct_and_places(np.clip(instants, start, end, out=instants))
    left = edges[:-1]
    first, last, launched = np.split(place[: 3 * len(key)], 3)
    owner = first_covering(len(left), first, last, order_by(launch_ns, start_ns))
    started = count_until(first, len(left))
    # An op that starts before its launch (clock skew) was queued at no instant.
    ahead = count_until(np.minimum(launched, first), len(left)) - started
    busy = owner != NONE
    queued = ~busy & (ahead > 0)
    cell_key = np.where(busy, np.append(key, NONE)[owner], _host_key(left, host, outside_key))
    # The next op to start; of several that start together the one launched first.
    cell_key[queued] = key[order_by(start_ns, launch_ns)[started[queued]]]
    state = np.where(busy, State.BUSY, np.where(queued, State.QUEUED, State.EMPTY))
    depth = count_until(launched, len(left)) - started
    return Cells(edges, cell_key.astype(np.int32), state.astype(np.uint8), owner, depth)


def _no_cells() -> Cells:
    nothing = np.empty(0, np.int64)
    return Cells(nothing, np.empty(0, np.int32), np.empty(0, np.uint8), nothing, nothing)


def _host_key(left: IntArray, host: HostTimeline, outside_key: int) -> Keys:
    key = host.at_each(left)
    return np.where(key != NONE, key, np.int32(outside_key)).astype(np.int32)
