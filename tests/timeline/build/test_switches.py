"""Steps that were not recorded: rows computed by hand, and what a switch does to its neighbours."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeline.building import TraceBuilder
from tests.timeline.plain import (
    PlainOp,
    PlainRange,
    PlainSwitched,
    orphans_of,
    spoiled_steps,
    stage_of,
    windows,
)
from tests.timeline.switched import Rows, six_steps
from trace_timing.timeline.build.model import StageKey
from trace_timing.timeline.build.recorded_part import NOT_RECORDED, recorded_part, recorded_steps
from trace_timing.trace.events import Kind
from trace_timing.trace.integrity.counts import check_integrity


def recorded_ends(built: TraceBuilder) -> TraceBuilder:
    """Ops of the steps that are recorded, of the guard too: 60, 30 and 50 ns busy."""
    return built.op(120, 180, launch=115).op(560, 590, launch=520).op(630, 680, launch=615)


def test_of_a_gap_only_the_host_s_time_is_known() -> None:
    rows = Rows(recorded_ends(six_steps()).trace())
    columns = ("step", "recorded", "unrecorded_reason", "window_ns", "busy_ns", "gpu_ops", "syncs")
    assert rows.steps(*columns) == [
        (1, True, None, 90, 60, 1, 0),
        (2, False, "recording_off", 90, None, None, None),
        (3, False, "recording_off", 90, None, None, None),
        (4, False, "recording_off", 90, None, None, None),
        (5, False, "recording_guard", 90, None, None, None),
        (6, True, None, 90, 50, 1, 0),
    ]
    assert rows.steps("idle_ns", "queued_ns")[0] == (30, 5)
    assert rows.steps("host_ns")[2] == (90,)


def test_a_stage_recorded_in_part_has_no_busy_time_but_one_a_step_and_an_estimate() -> None:
    rows = Rows(recorded_ends(six_steps()).trace())
    decode, sampling = rows.stage("decode"), rows.stage("sampling")
    # Every op that is there, the guard's 30 ns too; the window of all six steps.
    assert (decode["window_ns"], decode["kernel_sum_ns"], decode["gpu_ops"]) == (540, 140, 3)
    assert (decode["busy_ns"], decode["idle_ns"], decode["queued_ns"]) == (None, None, None)
    assert (decode["recorded"], decode["steps"], decode["recorded_steps"]) == (False, 6, 2)
    assert (decode["busy_per_step_ns"], decode["gpu_ops_per_step"]) == (55, 1)
    # 60, 58, 56, 54, 52, 50.
    assert (decode["busy_estimate_ns"], decode["gpu_ops_estimate"]) == (330, 6)
    assert (sampling["steps"], sampling["recorded_steps"], sampling["busy_ns"]) == (7, 3, None)
    prefill = rows.stage("prefill")
    assert (prefill["recorded"], prefill["busy_ns"], prefill["busy_estimate_ns"]) == (
        True,
        50,
        None,
    )
    assert [check for check in rows.checks if not check.holds] == []


def test_kernels_are_those_of_the_recorded_steps() -> None:
    kernels = Rows(recorded_ends(six_steps()).trace()).kernels
    assert {k.stage: k.total_ns for k in kernels} == {"prefill": 50, "decode": 110}


def test_an_op_that_runs_on_into_the_gap_keeps_its_instants() -> None:
    # Step 1's op ends 50 ns after recording was switched off at 210: its window is 110 … 260.
    built = six_steps().op(120, 260, launch=115).op(560, 590, launch=520)
    rows = Rows(built.op(630, 680, launch=615).trace())
    assert rows.steps("window_ns", "busy_ns")[:2] == [(150, 140), (40, None)]
    assert [check for check in rows.checks if not check.holds] == []


def test_what_was_launched_in_the_guard_step_and_runs_later_is_not_the_next_step_s() -> None:
    built = six_steps().op(120, 180, launch=115).op(560, 640, launch=520)
    rows = Rows(built.op(640, 690, launch=615).trace())
    found = rows.steps("recorded", "window_ns", "busy_ns")
    assert found[4:] == [(False, 130, None), (True, 60, 50)]


def test_time_in_a_gap_and_in_no_stage_is_no_recorded_part_of_other() -> None:
    built = TraceBuilder().range("generate", 0, 500).range("prefill", 20, 100)
    built.range("decode[1]", 100, 200).range("recording_off", 200, 350)
    built.range("decode[2]", 210, 300).range("recording_guard", 350, 430)
    built.range("decode[3]", 350, 420).range("decode[4]", 430, 500)
    rows = Rows(built.op(5, 15, launch=2).trace())
    other = rows.stage("other")
    # 0 … 20, then 200 … 210, 300 … 350 and 420 … 430; an op that was launched before prefill.
    assert (other["window_ns"], other["recorded"], other["busy_ns"]) == (90, False, None)
    assert (other["busy_estimate_ns"], other["gpu_ops_estimate"]) == (10, 1)
    assert other["host_ns"] == 90
    assert [check for check in rows.checks if not check.holds] == []


def test_first_and_last_step_may_lie_in_a_gap() -> None:
    built = TraceBuilder().range("generate", 0, 300)
    built.range("recording_off", 0, 100).range("decode[1]", 0, 100)
    built.range("recording_guard", 100, 150).range("decode[2]", 100, 150)
    built.range("decode[3]", 150, 200).range("recording_off", 200, 300).range("decode[4]", 200, 300)
    rows = Rows(built.op(120, 140, launch=110).op(160, 190, launch=155).trace())
    assert rows.steps("step", "unrecorded_reason", "busy_ns") == [
        (1, "recording_off", None),
        (2, "recording_guard", None),
        (3, None, 30),
        (4, "recording_off", None),
    ]
    decode = rows.stage("decode")
    assert (decode["recorded_steps"], decode["busy_estimate_ns"]) == (1, 120)
    assert [check for check in rows.checks if not check.holds] == []


def test_an_op_launched_before_the_gap_explains_no_orphan_after_the_guard_step() -> None:
    # Step 1's op is launched at 115 and runs until 700; the guard step ends at 610.
    built = six_steps().op(120, 700, launch=115).op(560, 590, launch=520).op(650, 660)
    assert Rows(built.trace()).timeline.unattributed == {"launch_missing": 1}
    # Launched in the guard step, it may well run among ops whose launches are lost.
    built = six_steps().op(120, 180, launch=115).op(560, 700, launch=520).op(650, 660)
    assert Rows(built.trace()).timeline.unattributed == {"recording_switch": 1}


def test_a_step_beside_a_switch_is_spoiled_and_its_stage_without_numbers_is_not() -> None:
    built = recorded_ends(six_steps())
    built.add(Kind.CALL, "cudaLaunchKernel", 204, 205, thread=0, correlation=99)
    rows = Rows(built.trace())
    assert rows.steps("step", "unrecorded_reason")[0] == (1, "recording_switch")
    assert rows.stage("prefill")["recorded"]
    assert check_integrity(rows.trace).launches_at_switches == 1


def test_a_launch_next_to_a_gap_without_its_op_spoils_its_step_and_no_other() -> None:
    built = recorded_ends(six_steps())
    built.add(Kind.CALL, "cudaLaunchKernel", 204, 205, thread=0, correlation=99)
    rows = Rows(built.trace())
    assert rows.steps("unrecorded_reason")[0] == ("recording_switch",)
    assert rows.steps("recorded", "busy_ns")[5] == (True, 50)
    assert rows.stage("sampling")["recorded_steps"] == 2
    found = check_integrity(rows.trace)
    assert (found.launches_at_switches, found.launches_without_ops) == (1, 0)


def test_a_launch_without_op_before_one_that_has_its_own_is_a_loss() -> None:
    built = recorded_ends(six_steps())
    built.add(Kind.CALL, "cudaLaunchKernel", 112, 113, thread=0, correlation=99)
    rows = Rows(built.trace())
    found = check_integrity(rows.trace)
    assert (found.launches_at_switches, found.launches_without_ops) == (0, 1)
    assert rows.steps("recorded")[0] == (True,)


def test_where_no_launch_has_its_op_the_gap_is_no_excuse() -> None:
    built = six_steps()
    for launch in (115, 125, 135):
        built.add(Kind.CALL, "cudaLaunchKernel", launch, launch + 1, correlation=launch)
    built.rows = [row for row in built.rows if row["kind"] != int(Kind.KERNEL)]
    found = check_integrity(built.trace())
    assert (found.launches_at_switches, found.launches_without_ops) == (0, 4)


def test_an_op_without_launch_in_a_gap_is_named_and_no_loss() -> None:
    rows = Rows(recorded_ends(six_steps()).op(300, 320).trace())
    assert rows.timeline.unattributed == {"recording_switch": 1}
    assert rows.steps("recorded") == [(True,), (False,), (False,), (False,), (False,), (True,)]
    assert rows.stage("unattributed")["busy_ns"] == 20
    assert [check for check in rows.checks if not check.holds] == []


def test_an_op_without_launch_among_a_step_s_own_spoils_that_step() -> None:
    built = six_steps().op(120, 260, launch=115).op(215, 230)
    rows = Rows(built.op(560, 590, launch=520).op(630, 680, launch=615).trace())
    assert rows.timeline.unattributed == {"recording_switch": 1}
    assert rows.steps("unrecorded_reason")[0] == ("recording_switch",)
    assert rows.steps("recorded")[5] == (True,)


def test_an_op_without_launch_elsewhere_is_missing_its_launch() -> None:
    rows = Rows(recorded_ends(six_steps()).op(640, 650).trace())
    assert rows.timeline.unattributed == {"launch_missing": 1}


def test_the_recorded_part_holds_nothing_of_gap_and_guard() -> None:
    run = Rows(recorded_ends(six_steps()).trace()).run
    part = recorded_part(run)
    assert [part.keys[key].stage for key in part.ops.key] == [
        "prefill",
        "decode",
        NOT_RECORDED,
        "decode",
    ]
    assert recorded_part(run) is part
    assert StageKey("decode", 6) in part.keys
    assert StageKey("decode", 5) not in part.keys


def test_a_run_without_marks_is_recorded_whole() -> None:
    built = TraceBuilder().range("generate", 0, 100).range("decode[1]", 0, 50)
    run = Rows(built.range("decode[2]", 50, 100).op(10, 20, launch=5).trace()).run
    assert recorded_part(run) is run
    steps = recorded_steps(run, "decode")
    assert steps.recorded.all()
    assert steps.estimate(np.full(len(run.keys), 7)) == 14


def test_a_stage_without_numbers_is_estimated_by_its_recorded_ranges() -> None:
    built = six_steps()
    built.range("draft", 201, 209).range("draft", 301, 309).range("draft", 701, 709)
    rows = Rows(recorded_ends(built.op(203, 206, launch=202).op(704, 709, launch=702)).trace())
    draft = rows.stage("draft")
    assert (draft["recorded"], draft["busy_ns"], draft["busy_estimate_ns"]) == (False, None, 12)


@st.composite
def switched_runs(draw: st.DrawFn) -> PlainSwitched:
    """Steps of random length, some in gaps; ops that lag, and some that lose op or launch."""
    at, ranges, lost = 10, [PlainRange("prefill", 0, 0, 10)], list[int]()
    ops = [PlainOp(2, 5, (0, 1))]  # without any the host's clock tiles
    gaps: list[tuple[int, int, int]] = []
    free = 0  # the stream's
    states = draw(st.lists(st.sampled_from("roo"), min_size=2, max_size=8))
    for step, state in enumerate(states, start=1):
        guard = state == "r" and step > 1 and states[step - 2] == "o"
        decode, sampling = draw(st.integers(4, 12)), draw(st.integers(1, 4))
        if state == "o" and (step == 1 or states[step - 2] != "o"):
            gaps.append((at, at, at))
        end = at + decode + sampling
        ranges.append(PlainRange(f"decode[{step}]", 0, at, at + decode))
        ranges.append(PlainRange(f"sampling[{step}]", 0, at + decode, end))
        if state == "o":
            gaps[-1] = (gaps[-1][0], end, end)
        elif guard:
            gaps[-1] = (*gaps[-1][:2], end)
        if state == "r" or draw(st.integers(0, 4)) == 0:
            for launch in sorted(draw(st.sets(st.integers(at, end - 1), max_size=3))):
                start = max(free, launch) + draw(st.integers(0, 6))
                free = start + draw(st.integers(1, 9))
                fate = draw(st.sampled_from(["whole"] * 6 + ["lost", "orphan"]))
                if fate == "lost" or (fate == "whole" and state == "o"):
                    lost.append(launch)
                else:
                    known = (0, launch) if fate == "whole" else None
                    ops.append(PlainOp(start, free, known))
        at = end
    return PlainSwitched(ranges, ops, lost, gaps)


def built_from(run: PlainSwitched) -> TraceBuilder:
    """The run as a trace with the recorder's marks."""
    built = TraceBuilder().range("generate", 0, run.ranges[-1].end)
    for off, guard, end in run.gaps:
        built.range("recording_off", off, guard)
        if end > guard:
            built.range("recording_guard", guard, end)
    for item in run.ranges:
        built.range(str(item.stage), item.start, item.end)
    for op in run.ops:
        built.op(op.start, op.end, launch=op.launch[1] if op.launch else None)
    for number, launch in enumerate(run.lost):
        built.add(
            Kind.CALL, "cudaLaunchKernel", launch, launch + 1, thread=0, correlation=900 + number
        )
    return built


@settings(max_examples=300)
@given(switched_runs())
def test_rows_of_switched_runs_are_what_a_plain_implementation_finds(run: PlainSwitched) -> None:
    rows = Rows(built_from(run).trace())
    generate = PlainRange(None, 0, 0, run.ranges[-1].end)
    window, busy, _ = windows(run.ops, run.ranges, generate)
    spoiled = spoiled_steps(run)
    columns = ("step", "recorded", "window_ns", "busy_ns", "gpu_ops")
    for step, recorded, window_ns, busy_ns, gpu_ops in rows.steps(*columns):
        name = f"decode[{step}]"
        (item,) = [r for r in run.ranges if r.stage == name]
        in_gap = any(off <= item.start < end for off, _, end in run.gaps)
        assert recorded == (not in_gap and name not in spoiled)
        assert window_ns == window.get(name, 0)
        assert busy_ns == (busy.get(name, 0) if recorded else None)
        own = [op for op in run.ops if stage_of(op, run.ranges, generate) == name]
        assert gpu_ops == (len(own) if recorded else None)
    assert [check for check in rows.checks if not check.holds] == []
    assert rows.timeline.unattributed.get("recording_switch", 0) == len(orphans_of(run))
