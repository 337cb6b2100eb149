"""Exact arithmetic on sorted, disjoint intervals of integer nanoseconds."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trace_timing.units import IntArray, sorted_distinct

NONE = -1


@dataclass(frozen=True)
class Intervals:
    """n disjoint half-open intervals in time order; tag says what each one is."""

    start_ns: IntArray
    end_ns: IntArray
    tag: IntArray

    def __len__(self) -> int:
        return len(self.start_ns)


@dataclass(frozen=True)
class Pieces:
    """p pieces of some intervals, cut where others begin or end; in time order, none empty."""

    start_ns: IntArray
    dur_ns: IntArray
    #: Number of the interval that was cut.
    of: IntArray
    #: Number of the interval it was cut by, NONE where it lies in none.
    by: IntArray


def cut(pieces: Intervals, by: Intervals) -> Pieces:
    """Cut each interval at the borders of others; the pieces of one sum to its length, exactly."""
    borders = sorted_distinct(
        np.concatenate([pieces.start_ns, pieces.end_ns, by.start_ns, by.end_ns]).astype(np.int64)
    )
    start, end = borders[:-1], borders[1:]
    of, other = _holding(start, pieces), _holding(start, by)
    inside = of != NONE
    return Pieces(start[inside], (end - start)[inside], of[inside], other[inside])


def _holding(cells: IntArray, intervals: Intervals) -> IntArray:
    """Number of the interval that holds each cell, NONE where none does.

    Args:
        cells: begins of adjoining cells, ascending; every interval begins and ends at one.
    """
    if not len(intervals):
        return np.full(len(cells), NONE, np.int64)
    begins = np.searchsorted(cells, intervals.start_ns)
    row = np.cumsum(np.bincount(begins, minlength=len(cells))[: len(cells)]) - 1
    inside = (row >= 0) & (cells < intervals.end_ns[np.maximum(row, 0)])
    return np.where(inside, row, NONE)


def outermost(start_ns: IntArray, end_ns: IntArray) -> IntArray:
    """Of intervals that nest (API calls of one thread), the numbers of those in no other.

    Returns them by start; equal intervals count once.
    """
    order = np.lexsort((-end_ns, start_ns))
    begun = np.maximum.accumulate(end_ns[order]) if len(order) else end_ns
    outer = np.ones(len(order), bool)
    outer[1:] = start_ns[order][1:] >= begun[:-1]
    return order[outer]


def union(start_ns: IntArray, end_ns: IntArray) -> Intervals:
    """The instants that at least one interval covers, as disjoint intervals (tags 0 … n−1)."""
    order = np.argsort(start_ns, kind="stable")
    start, end = start_ns[order], end_ns[order]
    if not len(start):
        return Intervals(start, end, start)
    reach = np.maximum.accumulate(end)
    first = np.flatnonzero(np.concatenate([[True], start[1:] > reach[:-1]]))
    last = np.concatenate([first[1:] - 1, [len(start) - 1]])
    return Intervals(start[first], reach[last], np.arange(len(first), dtype=np.int64))


def owners(start_ns: IntArray, end_ns: IntArray, rank: IntArray) -> Intervals:
    """Of the intervals that cover an instant, the one of least rank; tag is its number.

    Args:
        start_ns, end_ns: n intervals that may overlap, by start.
        rank: n ranks, such as launch times; ties go to the lower number.
    """
    reach = np.maximum.accumulate(end_ns) if len(end_ns) else end_ns
    opens = np.ones(len(start_ns), bool)
    opens[1:] = start_ns[1:] >= reach[:-1]
    first = np.flatnonzero(opens)
    size = np.diff(np.append(first, len(start_ns)))
    alone = first[size == 1]
    parts = [np.stack([start_ns[alone], end_ns[alone], alone])]
    parts += [
        _owners_of_cluster(range(a, a + n), start_ns, end_ns, rank)
        for a, n in zip(first[size > 1], size[size > 1], strict=True)
    ]
    table = np.concatenate(parts, axis=1).astype(np.int64)
    table = table[:, table[1] > table[0]]
    table = table[:, np.argsort(table[0], kind="stable")]
    return Intervals(table[0], table[1], table[2])


def _owners_of_cluster(
    members: range, start_ns: IntArray, end_ns: IntArray, rank: IntArray
) -> IntArray:
    """Sweep one cluster of overlapping intervals: 3 × k array of start, end, owner."""
    borders = sorted({int(t) for i in members for t in (start_ns[i], end_ns[i])})
    heap: list[tuple[int, int]] = []
    waiting = iter(members)
    upcoming = next(waiting, None)
    out = []
    for begin, finish in pairwise(borders):
        while upcoming is not None and start_ns[upcoming] <= begin:
            heapq.heappush(heap, (int(rank[upcoming]), upcoming))
            upcoming = next(waiting, None)
        while heap and end_ns[heap[0][1]] <= begin:
            heapq.heappop(heap)
        if heap:
            out.append((begin, finish, heap[0][1]))
    return np.array(out, np.int64).reshape(-1, 3).T
