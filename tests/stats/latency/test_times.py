"""Times of one run by what its stages took, by hand."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stats.evidence import MS, times, total_alone
from trace_timing import schema
from trace_timing.records.runs import ControlTimes
from trace_timing.records.segments import ControlSegment
from trace_timing.stages import Stage
from trace_timing.stats.latency.times import (
    decode_steps_of,
    decode_times,
    first_token_of_control,
    has_all_steps,
    in_ms,
    mean_times,
    stages_of_control,
    steps_of_control,
    times_of_control,
    times_of_stages,
)

by_stage = st.dictionaries(st.sampled_from(get_args(Stage)), st.integers(0, 10**12))


def test_a_run_has_the_times_that_its_stages_make() -> None:
    made = times_of_stages({"other": 1, "vision": 2, "vision_encoder": 3, "decode": 10}, 5)
    assert (made["T_vision_encoder"], made["T_vision_total"], made["T_projector"]) == (3, 5, None)
    assert (made["T_LLM_decode"], made["T_decode_per_token"]) == (10, 2)
    assert (made["T_rest"], made["T_total"], made["T_LLM_prefill"]) == (1, 16, None)


def test_a_run_of_one_token_has_no_decode_and_none_a_token() -> None:
    made = times_of_stages({"prefill": 7}, 0)
    assert (made["T_LLM_decode"], made["T_decode_per_token"], made["T_rest"]) == (None, None, 0)


@given(by_stage, st.integers(0, 50))
def test_the_parts_partition_the_total_whatever_stages_there_are(
    ns: dict[Stage, int], steps: int
) -> None:
    made = times_of_stages(ns, steps)
    assert set(made) == set(schema.SAMPLE_TIMES)
    assert sum(made[part] or 0 for part in schema.SAMPLE_PARTS) == made["T_total"]


def test_a_controls_times_are_those_of_its_segments() -> None:
    made = times_of_control(times())
    assert made["T_total"] == 100 * MS
    assert made["T_vision_total"] == 12 * MS
    assert made["T_decode_per_token"] == 30 * MS
    # Vision, prefill and rest, and the first of three samplings.
    assert made["T_TTFT"] == 38 * MS


def test_a_total_alone_has_no_stage_and_no_rest() -> None:
    made = times_of_control(total_alone(100))
    assert {name for name, ns in made.items() if ns is not None} == {"T_total"}


def test_a_step_is_its_forward_and_the_sampling_after_it() -> None:
    control = times({"prefill": 1, "decode": 20, "sampling": 6}, steps=2)
    assert steps_of_control(control) == [12 * MS, 12 * MS]
    assert decode_steps_of(control) == 2
    assert decode_steps_of(times({"prefill": 1}, steps=0)) == 0


def test_sums_over_some_steps_hold_all_before_the_first_and_no_other_step() -> None:
    control = segments(
        ("vision", None, 1),
        ("prefill", None, 2),
        ("sampling", 0, 4),
        ("decode", 1, 8),
        ("sampling", 1, 16),
        ("decode", 2, 32),
        ("sampling", 2, 64),
        ("other", None, 128),
    )
    assert stages_of_control(control, {2}) == {
        "vision": 1, "prefill": 2, "sampling": 4 + 64, "decode": 32, "other": 128,
    }  # fmt: skip
    assert stages_of_control(control, {1}) == {
        "vision": 1, "prefill": 2, "sampling": 4 + 16, "decode": 8,
    }  # fmt: skip
    assert stages_of_control(control)["sampling"] == 84
    assert decode_times(control) == {1: 8, 2: 32}
    assert first_token_of_control(control) == 7
    assert first_token_of_control(segments(("decode", 1, 8))) is None


def test_a_step_may_hold_another_stage_and_comes_once() -> None:
    assert has_all_steps(segments(("decode", 1, 8), ("vision", None, 4), ("decode", 1, 8)))
    again = segments(("decode", 1, 8), ("sampling", 1, 4), ("decode", 1, 8))
    assert not has_all_steps(again)
    assert has_all_steps(segments(("prefill", None, 8), ("other", None, 1)))
    assert has_all_steps(segments(("prefill", None, 8), ("sampling", 0, 4), ("decode", 1, 8)))
    assert has_all_steps(segments(("decode", 1, 8), ("sampling", 1, 4), ("decode", 2, 8)))
    assert not has_all_steps(segments(("decode", 2, 8), ("sampling", 2, 4)))


def test_a_sampling_without_its_forward_is_no_step() -> None:
    control = segments(("sampling", 1, 4), ("decode", 1, 8), ("sampling", 2, 16))
    assert steps_of_control(control) == [8]
    assert steps_of_control(segments()) == []


def segments(*parts: tuple[Stage, int | None, int]) -> ControlTimes:
    """A control of these segments: stage, step, ns."""
    made = [ControlSegment(stage=stage, step=step, duration_ns=ns) for stage, step, ns in parts]
    return ControlTimes(total_ns=sum(ns for *_, ns in parts), segments=made)


def test_a_stage_that_one_run_of_a_sample_lacks_took_it_no_time() -> None:
    with_vision = times_of_stages({"vision": 4, "prefill": 10}, 0)
    without = times_of_stages({"prefill": 20}, 0)
    mean = mean_times([with_vision, without])
    assert (mean["T_vision_total"], mean["T_LLM_prefill"], mean["T_total"]) == (2, 15, 17)
    assert mean["T_LLM_decode"] is None
    assert mean_times([]) == dict.fromkeys(schema.SAMPLE_TIMES)


@given(st.lists(by_stage, min_size=1, max_size=6))
def test_means_over_runs_partition_the_mean_total(runs: list[dict[Stage, int]]) -> None:
    mean = mean_times([times_of_stages(ns, 3) for ns in runs])
    parts = sum(mean[part] or 0 for part in schema.SAMPLE_PARTS)
    assert parts == pytest.approx(mean["T_total"], rel=1e-12)


def test_columns_are_in_ms_and_named_by_kind() -> None:
    columns = in_ms("_busy", times_of_stages({"prefill": 2_500_000}, 0))
    assert columns["T_LLM_prefill_busy_ms"] == 2.5
    assert columns["T_LLM_decode_busy_ms"] is None
