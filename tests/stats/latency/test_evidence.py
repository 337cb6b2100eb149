"""Which controls of a sample count, and as what."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from tests.stats.evidence import capture, control, recorded, run, times, total_alone
from trace_timing.records.runs import ControlTimes, RunRecord
from trace_timing.stats.latency.evidence import SampleEvidence, evidence_of


def one(controls: list[RunRecord], *, with_run: bool = True, **settings: object) -> SampleEvidence:
    runs = [run()] if with_run else []
    records = [recorded()] if with_run else []
    (found,) = evidence_of(capture(controls, records, **settings), runs)
    return found


def test_controls_are_told_apart_by_whether_a_profiler_was_attached() -> None:
    found = one([control(times(cupti=state)) for state in ("never", "detached", "attached")])
    assert [c.cupti for c in found.unprofiled] == ["never", "detached"]
    assert [c.cupti for c in found.attached] == ["attached"]
    assert found.controls == found.unprofiled


def test_a_detach_that_was_shown_not_to_work_is_not_believed() -> None:
    found = one([control(times(cupti="detached"))], detach={"works": False})
    assert (found.unprofiled, len(found.attached)) == ((), 1)
    assert one([control(times(cupti="detached"))], detach={"works": True}).unprofiled


def without_step(control: ControlTimes, step: int) -> ControlTimes:
    """The control as if its hooks had not seen one step."""
    left = tuple(part for part in control.segments if part.step != step)
    return replace(control, segments=left, total_ns=sum(part.duration_ns for part in left))


def renumbered(control: ControlTimes, stage: str, step: int, new: int | None) -> ControlTimes:
    """The control with another number on one step of a stage."""
    parts = [
        msgspec.structs.replace(part, step=new)
        if (part.stage, part.step) == (stage, step)
        else part
        for part in control.segments
    ]
    return replace(control, segments=tuple(parts))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"status": "failed"}, None),
        ({"control": None}, None),
        ({"control": replace(times(), bare=True)}, None),
        ({"control": times(clock="host")}, "other_clock"),
        ({"tokens_out": 2}, "token_count_differs"),
        ({"control": without_step(times(), 1)}, "control_step_missing"),
        ({"control": renumbered(times(), "sampling", 1, 0)}, "control_step_missing"),
        ({"control": renumbered(times(), "decode", 2, 1)}, "control_step_missing"),
        ({"control": renumbered(times(), "sampling", 2, None)}, "control_step_missing"),
    ],
)
def test_a_control_that_does_not_count_is_left_out(
    changed: dict[str, object], reason: str | None
) -> None:
    found = one([replace(control(times()), **changed), control(times(index=1))])
    assert [c.index for c in found.unprofiled] == [1]
    assert found.left_out == ({reason: 1} if reason else {})


def test_another_number_of_steps_is_noted_and_counts() -> None:
    assert not one([control(times())]).steps_differ
    found = one([control(times()), control(without_step(times(), 2))])
    assert found.steps_differ
    assert len(found.unprofiled) == 2
    assert one([control(without_step(times(), 2))]).steps_differ
    assert not one([control(without_step(times(), 2))], with_run=False).steps_differ


def test_tokens_of_other_values_are_noted_and_count() -> None:
    alike = one([control(times(), tokens_sha256="x")])
    assert not alike.tokens_differ
    differ = one([control(times(), tokens_sha256=digest) for digest in ("x", "y")])
    assert differ.tokens_differ
    assert len(differ.unprofiled) == 2


def test_without_a_recorded_run_the_most_frequent_number_of_tokens_counts() -> None:
    controls = [control(times(index=i), tokens=n) for i, n in enumerate((3, 2, 3))]
    found = one(controls, with_run=False)
    assert [c.index for c in found.unprofiled] == [0, 2]
    assert (found.runs, found.clock) == ((), "device")
    assert found.record == controls[0]


def test_a_total_by_the_hosts_clock_counts_beside_a_device_timeline() -> None:
    """A model over several devices is timed as a whole, after all of them have finished."""
    found = one([control(total_alone(90)), control(total_alone(95, cupti="attached"))])
    assert [c.total_ns for c in found.totals] == [90_000_000]
    assert found.left_out == {}
    attached = one([control(total_alone(95, cupti="attached"))])
    assert [c.cupti for c in attached.totals] == ["attached"]


def test_each_sample_of_each_rank_stands_alone() -> None:
    records = [recorded("a"), recorded("b"), replace(recorded("a"), rank=1)]
    controls = [control(times(), "a"), replace(control(times(), "a"), rank=1)]
    runs = [run("a"), run("a", repeat=1), run("a", rank=1), run("b")]
    found = {e.key: e for e in evidence_of(capture(controls, records), runs)}
    assert set(found) == {("a", 0), ("a", 1), ("b", 0)}
    assert [len(found[key].runs) for key in found] == [2, 1, 1]
    assert [len(found[key].unprofiled) for key in found] == [1, 1, 0]


def test_a_run_with_a_fault_is_passed_over_where_there_is_a_better_one() -> None:
    spoilt, good = run(faults=("lost_ops",)), run(repeat=1)
    (found,) = evidence_of(capture([], [recorded()]), [spoilt, good])
    assert found.good_runs == (good,)
    (worst,) = evidence_of(capture([], [recorded()]), [spoilt])
    assert worst.good_runs == (spoilt,)


def test_others_runs_are_samples_of_their_own() -> None:
    found = evidence_of(None, [run("t#0"), run("t#1")])
    assert [(e.key, e.controls, e.record) for e in found] == [
        (("t#0", 0), (), None),
        (("t#1", 0), (), None),
    ]
