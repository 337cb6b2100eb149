"""Exact arithmetic on sorted, disjoint intervals of integer nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.arrays import IntArray, count_until, distinct_and_places, order_by

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
    """Intervals cut into p pieces where other intervals begin or end; in time order, none empty."""

    start_ns: IntArray
    dur_ns: IntArray
    #: Number of the interval that was cut.
    of: IntArray
    #: Number of the other interval that the piece lies in, NONE where it lies in none.
    by: IntArray


def cut(pieces: Intervals, by: Intervals) -> Pieces:
    """Cut intervals where others begin or end; the pieces of each sum to its length, exactly."""
    first = np.searchsorted(by.end_ns, pieces.start_ns, side="right")
    after = np.searchsorted(by.start_ns, pieces.end_ns, side="left")
    met = np.where(pieces.end_ns > pieces.start_ns, after - first, 0)
    before = np.cumsum(met) - met
    other = np.repeat(first - before, met) + np.arange(int(met.sum()))
    # All borders in a row, by interval: its begin, those of what it meets, its end.
    begin = 2 * (before + np.arange(len(met)))
    end = begin + 2 * met + 1
    border = np.empty(2 * (len(met) + len(other)), np.int64)
    met_border = np.ones(len(border), np.bool_)
    met_border[begin] = met_border[end] = False
    border[begin], border[end] = pieces.start_ns, pieces.end_ns
    low, high = np.repeat(pieces.start_ns, met), np.repeat(pieces.end_ns, met)
    met_at = np.flatnonzero(met_border)
    border[met_at[::2]] = np.maximum(by.start_ns[other], low)
    border[met_at[1::2]] = np.minimum(by.end_ns[other], high)
    # A piece lies between two borders; if the first is a begin in `by`, it lies in that interval.
    within = np.full(len(border), NONE, np.int64)
    within[met_at[::2]] = other
    length = np.zeros(len(border), np.int64)
    length[:-1] = np.diff(border)
    length[end] = 0
    kept = np.flatnonzero(length)
    of = np.repeat(np.arange(len(met)), 2 * met + 2)
    return Pieces(border[kept], length[kept], of[kept], within[kept])


def outermost(start_ns: IntArray, end_ns: IntArray) -> IntArray:
    """Numbers, by start, of the intervals that lie in no other; of equal ones the first.

    Args:
        start_ns, end_ns: intervals that nest and never cross, such as API calls of one thread.
    """
    order = order_by(start_ns, -end_ns)
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
    """The covered instants, tagged with the number of the lowest-ranked interval covering each.

    Args:
        start_ns, end_ns: n intervals that may overlap, by start.
        rank: n ranks, such as launch times; ties go to the lower number.
    """
    borders, place = distinct_and_places(np.concatenate([start_ns, end_ns]))
    order = np.argsort(rank, kind="stable")
    first, last = np.split(place, 2)
    owner = first_covering(max(len(borders) - 1, 0), first, last, order)
    owned = np.flatnonzero(owner != NONE)
    return Intervals(borders[owned], borders[owned + 1], owner[owned])


def first_covering(cells: int, first: IntArray, last: IntArray, order: IntArray) -> IntArray:
    """For each cell, of the intervals that cover it the first in `order`; NONE where none does.

    A sparse table for range minima, filled from the top: each interval writes its rank to the two
    blocks of 2^k cells that together cover it, then the minimum of each block goes to its halves.
    O(m + c · log(cells of the longest)).

    Args:
        cells: how many adjoining cells there are.
        first, last: m intervals; number i covers the cells first[i] … last[i] − 1.
        order: the intervals' numbers, the preferred one first.
    """
    width = last - first  # an interval without length covers none
    covering = np.flatnonzero(width > 0)
    if _is_queue(first, last, order):
        return _first_unended(cells, first, last)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    if not len(covering):
        return np.full(cells, NONE, np.int64)
    level = np.frexp(width[covering].astype(np.float64))[1] - 1
    none = len(order)
    best = np.full(cells, none, np.int64)
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


def _is_queue(first: IntArray, last: IntArray, order: IntArray) -> bool:
    """Whether begin, end and preference all follow the intervals' numbers, as in one stream."""
    return all(bool((np.diff(values) >= 0).all()) for values in (first, last, order))


def _first_unended(count: int, first: IntArray, last: IntArray) -> IntArray:
    """`first_covering` where `_is_queue`: the first interval not ended, if it has begun."""
    ended = count_until(last, count)
    begins = np.append(first, count)[ended]
    return np.where(begins <= np.arange(count), ended, NONE)
