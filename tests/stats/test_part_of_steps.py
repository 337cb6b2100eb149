"""Samples whose recorded run was not recorded in every step."""

from __future__ import annotations

import pytest

from tests.stats.evidence import capture, control, recorded
from tests.timeline.building import TraceBuilder
from tests.timeline.switched import six_steps
from trace_timing.records.runs import ControlTimes, RunRecord
from trace_timing.records.segments import ControlSegment
from trace_timing.stages import Stage
from trace_timing.stats.latency.recording_effect import recording_effect
from trace_timing.stats.latency.sample_table import pairs_of, sample_row, samples_of
from trace_timing.stats.latency.times import stages_of_control
from trace_timing.stats.trace.trace_result import TraceResult, TraceSource, result_of
from trace_timing.timeline.build.runs import lay_out
from trace_timing.units import NS_PER_MS


def part_recorded(sample_id: str = "a", built: TraceBuilder | None = None) -> TraceResult:
    """Steps 1 and 6 of six recorded, 60 and 50 ns busy, as a trace's result."""
    built = built or six_steps().op(120, 180, launch=115).op(560, 590, launch=520)
    trace = built.op(630, 680, launch=615).trace()
    source = TraceSource(location="a.json", name="a.json", sample_id=sample_id)
    return result_of(trace, lay_out(trace), source)


def seven_tokens(step_ns: int, gap_ns: int, sample_id: str = "a") -> RunRecord:
    """A control: steps 1 and 6 take `step_ns`, those between `gap_ns`; sampling a tenth of it."""
    parts: list[tuple[Stage, int | None, int]] = [("prefill", None, 50), ("sampling", 0, 5)]
    for step in range(1, 7):
        ns = step_ns if step in (1, 6) else gap_ns
        parts += [("other", None, 1), ("decode", step, ns), ("sampling", step, ns // 10)]
    segments = tuple(ControlSegment(stage=s, step=n, duration_ns=ns) for s, n, ns in parts)
    times = ControlTimes(total_ns=sum(ns for *_, ns in parts), segments=segments)
    return control(times, sample_id, tokens=7)


def ns(row: dict[str, float | None], name: str) -> float | None:
    value = row[f"{name}_ms"]
    return None if value is None else value * NS_PER_MS


def test_sums_over_all_steps_are_estimates_under_their_own_names() -> None:
    (run,) = part_recorded().recorded
    (sample,) = samples_of(None, [run])
    row = sample_row(sample)
    for name in ("T_LLM_decode", "T_sampling", "T_rest", "T_total"):
        assert row[f"{name}_busy_ms"] is None
        assert row[f"{name}_recorded_ms"] is None
    assert ns(row, "T_LLM_prefill_busy") == pytest.approx(50)
    assert ns(row, "T_LLM_prefill_recorded") == pytest.approx(100)
    assert ns(row, "T_decode_per_token_busy") == pytest.approx(55)
    assert ns(row, "T_decode_per_token_recorded") == pytest.approx(90)
    assert ns(row, "T_LLM_decode_busy_estimate") == pytest.approx(330)
    assert ns(row, "T_total_busy_estimate") == pytest.approx(380)
    assert (row["decode_steps"], row["recorded_steps"]) == (6, 2)
    # An op of prefill and one a step.
    assert (row["gpu_ops"], row["gpu_ops_estimate"]) == (None, 7)


def test_a_run_recorded_whole_has_no_estimate() -> None:
    built = TraceBuilder().range("generate", 0, 100).range("prefill", 0, 40)
    trace = built.range("decode[1]", 40, 100).op(10, 20, launch=5).op(50, 80, launch=45).trace()
    source = TraceSource(location="a.json", name="a.json", sample_id="a")
    result = result_of(trace, lay_out(trace), source)
    row = sample_row(samples_of(None, result.recorded)[0])
    assert ns(row, "T_LLM_decode_busy") == pytest.approx(30)
    assert row["T_LLM_decode_busy_estimate_ms"] is None
    assert (row["recorded_steps"], row["gpu_ops"], row["gpu_ops_estimate"]) == (1, 2, None)


def test_the_run_itself_has_its_own_times_and_says_how_many_steps_it_was_recorded_in() -> None:
    result = part_recorded()
    (row,) = result.tables["runs"].to_pylist()
    assert ns(row, "T_LLM_decode") == pytest.approx(540)
    assert row["T_LLM_decode_busy_ms"] is None
    assert (row["decode_steps"], row["recorded_steps"], row["gpu_ops"]) == (6, 2, None)
    (said,) = result.runs
    assert said.steps == {"recorded": 2, "recording_off": 3, "recording_guard": 1}
    assert row["checks_hold"]


def test_a_control_is_cut_to_the_recorded_steps_and_what_follows_each() -> None:
    times = seven_tokens(20, 70).control
    assert times is not None
    # The first `other` lies before step 1, the second follows it; the last follows step 5.
    assert stages_of_control(times, frozenset({1, 6})) == {
        "prefill": 50,
        "sampling": 5 + 2 + 2,
        "other": 2,
        "decode": 40,
    }
    assert stages_of_control(times)["decode"] == 2 * 20 + 4 * 70


def test_recorded_steps_are_held_against_the_same_steps_of_controls() -> None:
    (run,) = part_recorded().recorded
    # In the controls the steps that were not recorded take four times as long: no matter.
    directory = capture([seven_tokens(45, 180)] * 3, [recorded(tokens=7)])
    pairs = pairs_of(samples_of(directory, [run]))
    (pair,) = pairs
    assert pair[0].by_stage["decode"] == 180
    assert pair[1].by_stage["decode"] == 90
    effect = recording_effect(pairs)
    assert effect is not None
    # Decode 180 + sampling 10 + 10 + 10 against 90 + 5 + 4 + 4.
    assert effect.groups["step"].median == pytest.approx(210 / 103)


def test_a_sample_without_controls_is_scaled_over_all_its_steps() -> None:
    runs = [part_recorded(name).recorded[0] for name in "abcd"]
    controls = [seven_tokens(45, 45, name) for name in "abc" for _ in range(3)]
    directory = capture(controls, [recorded(name, tokens=7) for name in "abcd"])
    *_, last = samples_of(directory, runs)
    assert last.evidence.key == ("d", 0)
    assert last.latency.source == "scaled"
    # Six steps of 90 ns, at half of that; the others' own decode is exactly that, too.
    assert last.latency.ns["T_LLM_decode"] == pytest.approx(270)
    assert last.latency.ns["T_LLM_prefill"] == pytest.approx(50)
    low, high = last.latency.lo_ns["T_LLM_decode"], last.latency.hi_ns["T_LLM_decode"]
    assert low == pytest.approx(high)


def test_how_far_scaling_is_off_is_told_over_all_steps() -> None:
    runs = [part_recorded(name).recorded[0] for name in "abcd"]
    # As in recorded steps, but for the others, which take twice as long: each prediction misses.
    controls = [seven_tokens(45, 90, name) for name in "abc" for _ in range(3)]
    directory = capture(controls, [recorded(name, tokens=7) for name in "abcd"])
    *_, last = samples_of(directory, runs)
    assert "scaled_interval_wide" in last.latency.reasons


def test_what_a_switch_lost_is_told_once_and_is_no_fault() -> None:
    built = six_steps().op(120, 180, launch=115).op(215, 230).op(560, 590, launch=520)
    result = part_recorded(built=built)
    (told,) = [w for w in result.summary.warnings if w.code != "unknown_kernels"]
    assert told.code == "recording_switch"
    assert "1 ops without launch; 0 recorded steps left out" in told.evidence
    assert result.recorded[0].faults == ()
    assert result.tables["runs"].to_pylist()[0]["checks_hold"]
