"""What is planned for a run: by its controls, else by the most new tokens; all where it must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.recording.benches import Model
from tests.recording.profiling.test_switch import FakeSwitch
from trace_timing.recording.profiling.detach import GRAPHS_SEEN, CuptiAttachment
from trace_timing.recording.profiling.switch import NO_GPU
from trace_timing.recording.runs.calls import Call
from trace_timing.recording.runs.step_planner import (
    CPU_OPS,
    GRAPHS,
    PUBLIC,
    Planned,
    StepPlanner,
    notes_on_whole_runs,
    switch_for,
)
from trace_timing.records.runs import ControlTimes, RunRecord
from trace_timing.records.segments import ControlSegment

pytestmark = pytest.mark.capture
ATTACHED = CuptiAttachment(None)


def call(**inputs: Any) -> Call:
    return Call(sample_id="a", repeat=0, run=lambda: None, inputs=inputs)


def planner(wanted: Any = 8, *, why_not: str | None = None) -> StepPlanner:
    switch = None if why_not else FakeSwitch()
    return StepPlanner(Model(), wanted, switch=(switch, why_not))


def control(steps: int) -> RunRecord:
    """A control of so many steps."""
    parts = [ControlSegment(stage="decode", step=n + 1, duration_ns=5) for n in range(steps)]
    times = ControlTimes(total_ns=5 * steps, segments=tuple(parts))
    return RunRecord(sample_id="a", role="control", repeat=0, control=times, tokens_out=99)


def expected(planned: Planned) -> int | None:
    assert planned.plan is not None
    return planned.plan.expected


def test_a_sample_is_expected_to_make_as_many_steps_as_its_control() -> None:
    some = planner()
    assert expected(some.plan(call(max_new_tokens=512), ATTACHED)) == 511
    some.learn([control(100)])
    assert expected(some.plan(call(max_new_tokens=512), ATTACHED)) == 100


def test_failed_and_bare_controls_say_nothing_and_totals_say_their_tokens() -> None:
    some = planner()
    whole = control(100)
    assert whole.control is not None
    some.learn([replace(whole, status="failed")])
    some.learn([replace(whole, control=replace(whole.control, bare=True))])
    assert expected(some.plan(call(max_new_tokens=51), ATTACHED)) == 50
    some.learn([replace(whole, control=replace(whole.control, segments=()))])
    assert expected(some.plan(call(max_new_tokens=51), ATTACHED)) == 98


def test_a_loop_of_unknown_length_is_recorded_ever_more_rarely() -> None:
    planned = planner().plan(call(), ATTACHED)
    assert planned.plan is not None
    assert planned.as_dict() == {"expected": None, "stretches": [[1, 4], [17, 20]]}


def test_short_runs_are_recorded_whole_and_need_no_reason() -> None:
    some = planner(why_not=NO_GPU)
    assert some.plan(call(max_new_tokens=9), ATTACHED).as_dict() == {"all": True}
    assert notes_on_whole_runs(some.whole) == []


def test_long_runs_are_recorded_whole_where_nothing_can_be_switched_and_that_is_told() -> None:
    some = planner(why_not=NO_GPU)
    planned = some.plan(call(max_new_tokens=100), ATTACHED)
    assert (planned.plan, planned.as_dict()) == (None, {"all": True, "why": NO_GPU})
    assert notes_on_whole_runs(some.whole) == [f"every decode step of 1 run was recorded: {NO_GPU}"]


def test_around_graphs_nothing_is_switched() -> None:
    attachment = CuptiAttachment(None)
    attachment.forbid(GRAPHS_SEEN)
    assert planner().plan(call(max_new_tokens=100), attachment).why_all == GRAPHS


def test_who_asks_for_all_gets_all() -> None:
    assert planner("all").plan(call(max_new_tokens=100), ATTACHED) == Planned(steps=99)


def test_sessions_that_record_cpu_ops_are_not_switched() -> None:
    found = (FakeSwitch(), None)
    assert switch_for("ranges", "private", found) is found
    assert switch_for("full", "private", found) == (None, CPU_OPS)
    assert switch_for("ranges", "public", found) == (None, PUBLIC)
