"""A shape's warm-up ends when two runs agree, and says so when they never do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from trace_timing.recording.runs.warm_up import (
    MOST,
    TOKENS,
    RunTimes,
    agree,
    is_first_of_its_lengths,
    is_late,
    new_tokens_of,
    shortened,
    times_of,
    warm_up,
    warm_up_summary,
)
from trace_timing.records.runs import ControlTimes
from trace_timing.records.segments import ControlSegment


def runs_of(*totals: int) -> Callable[[], RunTimes]:
    return iter([RunTimes(total_ns=total) for total in totals]).__next__


def test_it_stops_at_the_first_two_that_agree() -> None:
    result = warm_up(runs_of(900, 400, 104, 100, 5))
    assert [run.total_ns for run in result.runs] == [900, 400, 104, 100]
    assert result.agreed


def test_it_gives_up_after_the_most_runs_and_says_that_they_did_not_agree() -> None:
    result = warm_up(runs_of(*[100, 200] * MOST))
    assert len(result.runs) == MOST
    assert result.as_dict() == {
        "runs": MOST,
        "agreed": False,
        "totals_ns": [100, 200, 100, 200, 100],
    }


def test_it_goes_on_while_another_rank_does_not_agree() -> None:
    others = iter([False, True])
    result = warm_up(runs_of(*[100] * MOST), lambda says: says and next(others))
    assert len(result.runs) == 3


def test_ten_percent_is_the_edge() -> None:
    assert agree(RunTimes(total_ns=1000), RunTimes(total_ns=1100))
    assert not agree(RunTimes(total_ns=1000), RunTimes(total_ns=1101))


def test_steps_and_prefill_are_compared_and_not_lengths() -> None:
    one = RunTimes(total_ns=1000, prefill_ns=500, step_ns=100)
    assert agree(one, RunTimes(total_ns=9000, prefill_ns=500, step_ns=105))
    assert not agree(one, RunTimes(total_ns=1000, prefill_ns=600, step_ns=100))
    assert not agree(one, RunTimes(total_ns=1000, prefill_ns=500, step_ns=150))


def segment(stage: str, step: int | None, duration_ns: int) -> ControlSegment:
    return ControlSegment(stage=stage, step=step, duration_ns=duration_ns)  # type: ignore[arg-type]


def test_a_step_is_a_forward_and_what_follows_it() -> None:
    segments = (
        segment("other", None, 7),
        segment("vision", None, 30),
        segment("prefill", None, 100),
        segment("sampling", 0, 5),
        segment("decode", 1, 40),
        segment("sampling", 1, 2),
        segment("decode", 2, 60),
        segment("sampling", 2, 2),
        segment("decode", 3, 41),
        segment("sampling", 3, 2),
    )
    found = times_of(ControlTimes(total_ns=289, segments=segments))
    assert found == RunTimes(total_ns=289, prefill_ns=130, step_ns=43, steps=3)
    assert times_of(ControlTimes(total_ns=289)) == RunTimes(total_ns=289)


def test_a_whole_call_is_expected_to_take_a_step_more_for_each_further_token() -> None:
    short = RunTimes(total_ns=1000, prefill_ns=500, step_ns=30, steps=15)
    result = warm_up(iter([short, short]).__next__)
    assert result.expected_ns(16) == 1000
    assert result.expected_ns(116) == 1000 + 100 * 30
    assert result.expected_ns(None) == 1000


def test_the_manifest_is_told_how_often_it_failed() -> None:
    good, bad = warm_up(runs_of(1, 1)), warm_up(runs_of(*[100, 200] * MOST))
    summary = warm_up_summary([good, bad])
    assert (summary["shapes"], summary["runs"], summary["disagreed"]) == (2, 2 + MOST, 1)
    assert summary["totals_ns"] == [1, 1]


MODEL = SimpleNamespace(generation_config=SimpleNamespace(max_new_tokens=None))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_new_tokens": 400}, {"max_new_tokens": TOKENS}),
        (
            {"max_new_tokens": 400, "min_new_tokens": 400},
            {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS},
        ),
        (
            {"max_new_tokens": 400, "min_new_tokens": 3},
            {"max_new_tokens": TOKENS, "min_new_tokens": 3},
        ),
        ({"max_length": 900, "min_length": 800}, {"max_new_tokens": TOKENS}),
        ({"max_new_tokens": 4, "min_new_tokens": 4}, None),
        ({"max_new_tokens": 400, "cache_implementation": "static"}, None),
        ({"max_new_tokens": 400, "past_key_values": object()}, None),
        ({"max_new_tokens": 400, "cache": object()}, None),
    ],
)
def test_a_call_is_warmed_up_with_few_tokens_where_that_warms_it(
    given: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    found = shortened({"input_ids": 1, **given}, MODEL)
    assert found == (None if expected is None else {"input_ids": 1, **expected})


def test_the_configuration_says_what_the_call_does_not() -> None:
    pytest.importorskip("transformers")
    from transformers import GenerationConfig

    config = GenerationConfig(max_new_tokens=200, min_new_tokens=100)
    model = SimpleNamespace(generation_config=GenerationConfig(cache_implementation="static"))
    assert new_tokens_of({"generation_config": config}, MODEL) == 200
    assert shortened({"max_new_tokens": 400}, model) is None
    found = shortened({"generation_config": config}, MODEL)
    assert found is not None
    assert (found["max_new_tokens"], found["generation_config"].min_new_tokens) == (TOKENS, None)
    assert config.min_new_tokens == 100


def steps_of(early: int, late: int, *, number: int = 32) -> ControlTimes:
    """A run whose steps take so long before and from the first that a warm-up does not reach."""
    each = [early if step < TOKENS else late for step in range(1, number)]
    segments = tuple(segment("decode", step, ns) for step, ns in enumerate(each, 1))
    return ControlTimes(total_ns=sum(each), segments=segments)


def test_a_run_is_the_first_of_its_lengths_where_late_steps_are_slower_than_in_the_next() -> None:
    assert is_late(steps_of(20, 57))
    assert is_first_of_its_lengths(steps_of(20, 57), steps_of(21, 22))


def test_late_steps_that_stay_slow_grow_with_the_cache() -> None:
    assert is_late(steps_of(20, 57))
    assert not is_first_of_its_lengths(steps_of(20, 57), steps_of(20, 56))


def test_a_run_that_is_slow_throughout_had_noise_and_counts() -> None:
    assert not is_late(steps_of(30, 31))
    assert not is_first_of_its_lengths(steps_of(30, 31), steps_of(20, 21))


def test_of_a_short_run_nothing_is_said() -> None:
    short = steps_of(20, 99, number=TOKENS)
    assert not is_late(short)
    assert not is_first_of_its_lengths(short, short)
