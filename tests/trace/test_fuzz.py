"""3,000 mutated traces: each is refused in words, or has the plain figures to the nanosecond."""

from __future__ import annotations

import os
from typing import Any

import pytest

from benchmarks import fuzz, fuzz_changes
from benchmarks.small_traces import by_hand, laid_out, merged
from tests.plain.figures import Row
from tests.plain.processes import Ranks, figures_of_each

CASES = 3000


@pytest.mark.slow
def test_no_mutation_gives_a_wrong_figure_or_ends_otherwise_than_in_words() -> None:
    verdicts = list(fuzz.run_all(0, CASES, min(os.cpu_count() or 1, 4)))
    print(fuzz.tally(verdicts))
    assert len(verdicts) == CASES
    assert [v for v in verdicts if v.ended in fuzz.WRONG] == []
    # Neither all refused nor all left as they were.
    for how in ("refused", "accepted: figures are the plain ones"):
        assert sum(v.ended == how for v in verdicts) > CASES / 10


def test_a_figure_that_differs_by_a_nanosecond_is_found() -> None:
    plain: Ranks = {0: {(0, "prefill"): Row(10, 5, 5, 1)}}
    assert fuzz.same({0: {(0, "prefill"): Row(10, 5, 5, 1), (0, "other"): Row()}}, plain)
    for other in (Row(11, 5, 5, 1), Row(10, 4, 5, 1), Row(10, 5, 6, 1), Row(10, 5, 5, 2)):
        assert not fuzz.same({0: {(0, "prefill"): other}}, plain)
    assert not fuzz.same({1: plain[0]}, plain)
    assert not fuzz.same({}, plain)


def changed(*changes: tuple[int, dict[str, Any] | None]) -> list[str] | None:
    """The kinds of changes of events of a small trace, by place; None where one is on no list."""
    events: list[dict[str, Any] | None] = [dict(event) for event in by_hand()]
    before = laid_out({}, [event for event in events if event])
    for place, fields in changes:
        events[place] = None if fields is None else {**(events[place] or {}), **fields}
    after = laid_out({}, [event for event in events if event])
    return fuzz_changes.valid_kinds(before, after)


def test_changes_that_make_another_valid_trace_are_told_from_those_that_do_not() -> None:
    """Event 0 is generate, 1 prefill, 2 decode[1]; 4 is the first launch and 5 its op."""
    assert changed((1, {"name": "vision"})) == ["range renamed"]
    assert changed((5, {"ts": 1030.0})) == ["op begins or ends otherwise"]
    assert changed((4, {"ts": 1020.0})) == ["launch begins or ends otherwise"]
    assert changed((2, {"dur": 20.0})) == ["range begins or ends otherwise"]
    assert changed((4, None), (5, None)) == ["launch gone with its op"] * 2
    assert changed((4, {"tid": 79})) == ["launch from another thread without ranges"]
    assert changed((5, {"pid": ""})) == ["op on a track of another name"]
    assert changed(*((n, {"name": "theirs"}) for n in range(4))) == ["no range left"] * 4
    op_more = (22, {"cat": "kernel", "args": {}})  # what was python_function
    assert changed(*((n, {"name": "theirs"}) for n in range(4)), op_more) == [
        *["no range left"] * 4,
        "an op more without launch, no range left",
    ]
    for wrong in (
        (5, {"ts": 200_000.0}),  # 200 ms
        (5, None),
        (4, None),
        (1, None),
        (2, {"tid": 5}),
        (0, {"tid": 5}),
        (0, {"name": "prefill"}),
        (2, {"ts": 1056.0}),  # over the begin of the next step
        (4, {"ts": 1030.0}),  # after the next launch
        (4, {"pid": 5}),
        op_more,
        (4, {"args": {"correlation": 77}}),
        (2, {"dur": 4000.0}),
    ):
        assert changed(wrong) is None, wrong


def test_a_merged_trace_has_plain_figures_rank_by_rank() -> None:
    for events in merged():
        ranks = figures_of_each(laid_out({}, events))
        assert sorted(ranks) == [0, 1]
        for rows in ranks.values():
            windows = {stage: row.window for (_, stage), row in rows.items()}
            assert windows == {"prefill": 68_000, "decode": 54_000, "other": 7_000}
