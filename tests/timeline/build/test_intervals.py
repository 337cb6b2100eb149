"""Interval arithmetic against the plainest possible one: a set of instants."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trace_timing.timeline.build.intervals import Intervals, cut, outermost, owners, union

spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=12)


def _arrays(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    rows = sorted(rows)
    start = np.array([a for a, _ in rows], np.int64)
    return start, start + np.array([d for _, d in rows], np.int64)


@given(spans)
def test_union_covers_what_any_interval_covers(rows: list[tuple[int, int]]) -> None:
    start, end = _arrays(rows)
    merged = union(start, end)
    covered = {t for a, b in zip(merged.start_ns, merged.end_ns, strict=True) for t in range(a, b)}
    assert covered == {t for a, b in zip(start, end, strict=True) for t in range(a, b)}
    assert (merged.start_ns[1:] > merged.end_ns[:-1]).all()


@given(spans, st.randoms(use_true_random=False))
def test_an_instant_is_owned_by_the_interval_of_least_rank(
    rows: list[tuple[int, int]], random: object
) -> None:
    start, end = _arrays(rows)
    rank = np.array([random.randrange(5) for _ in rows], np.int64)  # type: ignore[attr-defined]
    owned = owners(start, end, rank)
    seen = {
        t: tag
        for a, b, tag in zip(owned.start_ns, owned.end_ns, owned.tag, strict=True)
        for t in range(a, b)
    }
    expected = {}
    for t in range(40):
        running = [(rank[i], i) for i in range(len(start)) if start[i] <= t < end[i]]
        if running:
            expected[t] = min(running)[1]
    assert seen == expected


@given(spans, spans)
def test_pieces_of_an_interval_sum_to_it_and_name_what_cut_them(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    whole: Intervals = union(*_arrays(first))
    by = union(*_arrays(second))
    pieces = cut(whole, by)
    for number in range(len(whole)):
        own = pieces.of == number
        assert pieces.dur_ns[own].sum() == whole.end_ns[number] - whole.start_ns[number]
    for start, dur, other in zip(pieces.start_ns, pieces.dur_ns, pieces.by, strict=True):
        inside = [i for i in range(len(by)) if by.start_ns[i] <= start < by.end_ns[i]]
        assert dur > 0
        assert [other] == (inside or [-1])


def test_of_nested_calls_only_the_outermost_are_kept() -> None:
    start = np.array([0, 2, 10, 10, 12], np.int64)
    end = np.array([9, 5, 20, 15, 14], np.int64)
    assert outermost(start, end).tolist() == [0, 2]
    assert outermost(start[:0], end[:0]).tolist() == []
