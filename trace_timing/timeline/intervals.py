"""Exact arithmetic on sorted, disjoint intervals of integer nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

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
    borders = sorted_distinct(np.concatenate([start_ns, end_ns]))
    cells = borders[:-1]
    order = np.argsort(rank, kind="stable")
    owner = first_covering(cells, np.searchsorted(cells, start_ns), end_ns, order)
    owned = owner != NONE
    return Intervals(cells[owned], borders[1:][owned], owner[owned])


def first_covering(cells: IntArray, first: IntArray, end_ns: IntArray, order: IntArray) -> IntArray:
    """For each cell the interval that comes first in an order among those that cover it, else NONE.

    A range-minimum table filled backwards: each interval writes its rank to the two blocks
    of 2^k cells that cover it, then every block hands its minimum down to its halves.
    O(m + c · log(cells of the longest)).

    Args:
        cells: begins of c adjoining cells, ascending. first: the cell in which each of m
            intervals begins. order: their numbers, the one that wins first.
    """
    last = np.searchsorted(cells, end_ns)
    # One that began before the first cell covers that too; one without length covers none.
    width = last - first
    covering = np.flatnonzero(width > 0)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    if not len(covering):
        return np.full(len(cells), NONE, np.int64)
    level = np.frexp(width[covering].astype(np.float64))[1] - 1
    none = len(order)
    best = np.full(len(cells), none, np.int64)
    for k in range(int(level.max()), -1, -1):
        ops = covering[level == k]
        np.minimum.at(best, first[ops], rank[ops])
        np.minimum.at(best, last[ops] - (1 << k), rank[ops])
        if k:
            half = 1 << (k - 1)
            shifted = best.copy()
            np.minimum(best[half:], shifted[:-half], out=best[half:])
    owner = np.append(order, NONE)
    return owner[best]
