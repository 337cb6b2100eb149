"""Tiling: every instant of a window goes to exactly one stage (design section 2).

The window is cut at every instant where something changes. A cell that an op covers belongs to the
op launched first among those running; an idle cell with work queued, to the stage of the next op
to start; an idle cell with an empty queue, to the stage that the host is in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trace_timing.timeline.intervals import first_covering
from trace_timing.timeline.layout import HostTimeline, Keys, State, Tiles
from trace_timing.units import IntArray, sorted_distinct


def tile(
    window: tuple[int, int],
    start_ns: IntArray,
    end_ns: IntArray,
    launch_ns: IntArray,
    key: Keys,
    host: HostTimeline,
    *,
    outside_key: int,
) -> Tiles:
    """Cut a window into adjoining intervals, each of one stage and state.

    Args:
        window: begin and end in ns; what of the ops lies outside it is not tiled.
        start_ns, end_ns, launch_ns, key: m ops, in any order; several may overlap.
        host: the stages of the generating thread.
        outside_key: the key where the host is in no stage (`other`).
    Returns:
        Tiles that cover the window exactly, neighbours differing in key or state.
    """
    start, end = window
    if end <= start:
        empty = np.empty(0, np.int64)
        return Tiles(empty, empty, np.empty(0, np.int32), np.empty(0, np.uint8))
    # An op that starts before its launch (clock skew) was queued at no instant.
    queued_from = np.minimum(launch_ns, start_ns)
    edges = np.concatenate(
        [start_ns, end_ns, queued_from, host.boundary_ns, np.array([start, end], np.int64)]
    )
    edges = sorted_distinct(edges[(edges >= start) & (edges <= end)])
    left = edges[:-1]
    first = np.searchsorted(left, start_ns)
    owner = first_covering(left, first, end_ns, np.lexsort((start_ns, launch_ns)))
    busy = owner >= 0
    launched = np.searchsorted(left, queued_from)
    queued = ~busy & (_count_until(launched, len(left)) > _count_until(first, len(left)))
    cell_key = _host_key(left, host, outside_key)
    cell_key[busy] = key[owner[busy]]
    cell_key[queued] = _next_key(left[queued], start_ns, launch_ns, key)
    state = np.where(busy, State.BUSY, np.where(queued, State.QUEUED, State.EMPTY))
    return _merge(edges, cell_key, state.astype(np.uint8))


def _count_until(cells: IntArray, count: int) -> IntArray:
    """How many of these lie in each of `count` cells or before it; entries ≥ count lie in none."""
    return np.cumsum(np.bincount(cells, minlength=count)[:count])


def _host_key(left: IntArray, host: HostTimeline, outside_key: int) -> Keys:
    key = host.at(left)
    return np.where(key >= 0, key, np.int32(outside_key)).astype(np.int32)


def _next_key(instants: IntArray, start_ns: IntArray, launch_ns: IntArray, key: Keys) -> Keys:
    # Of ops that start together, the one launched first: the same choice as for a busy cell.
    order = np.lexsort((launch_ns, start_ns))
    return key[order[np.searchsorted(start_ns[order], instants, side="right")]]


def _merge(edges: IntArray, key: Keys, state: npt.NDArray[np.uint8]) -> Tiles:
    change = np.flatnonzero((key[1:] != key[:-1]) | (state[1:] != state[:-1])) + 1
    begins = np.concatenate([[0], change])
    stops = np.concatenate([change, [len(key)]])
    return Tiles(edges[begins], edges[stops], key[begins], state[begins])
