"""How much recording stretched the runs: by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trace_timing.records.runs import ControlTimes, CuptiState, RunRecord
from trace_timing.stats.latency.recording_effect import ratio, recording_effect
from trace_timing.stats.latency.scaled import Cut


def pair(decode: float, control: float, steps: int = 1) -> tuple[Cut, Cut]:
    recorded = Cut(by_stage={"prefill": 50, "decode": decode, "sampling": 10}, steps=steps)
    return recorded, Cut(by_stage={"prefill": 50, "decode": control, "sampling": 5}, steps=steps)


def test_each_group_of_stages_has_the_median_of_its_pairs_with_an_interval() -> None:
    found = recording_effect([pair(d, 100) for d in (110, 120, 130, 125, 115, 105, 121)])
    assert found is not None
    assert set(found.groups) == {"prefill", "step", "total"}, "no run has a vision stage"
    step = found.groups["step"]
    assert (step.median, step.samples) == (pytest.approx(130 / 105), 7)
    assert step.interval is not None
    assert step.interval.low <= step.median <= step.interval.high
    assert found.groups["prefill"].median == 1
    assert found.groups["total"].median == pytest.approx(180 / 155)
    assert found.sentence.startswith("Recording made runs ×1.16 [1.")


def test_two_pairs_have_a_median_and_no_interval() -> None:
    found = recording_effect([pair(110, 100), pair(130, 100)])
    assert found is not None
    assert (found.groups["total"].samples, found.groups["total"].interval) == (2, None)
    assert str(ratio([3], [2])) == "×1.50"


def test_a_stage_that_one_of_the_two_runs_lacks_has_no_ratio() -> None:
    recorded, control = pair(120, 100)
    seen = replace(recorded, by_stage={**recorded.by_stage, "vision": 30})
    for one, other in ((seen, control), (recorded, replace(control, by_stage=seen.by_stage))):
        found = recording_effect([(one, other)])
        assert found is not None
        assert "vision" not in found.groups
        assert found.groups["prefill"].median == 1


def test_without_a_sample_that_has_both_there_is_no_effect() -> None:
    assert recording_effect([]) is None


def test_runs_of_other_length_and_of_one_token_say_nothing_of_a_step() -> None:
    recorded, control = pair(120, 100, steps=0)
    one_token = recording_effect([(recorded, control)])
    assert one_token is not None
    assert "step" not in one_token.groups
    assert recording_effect([(recorded, replace(control, steps=3))]) is None


def bare_or_not(total_ns: int, *, bare: bool, cupti: CuptiState = "never") -> RunRecord:
    times = ControlTimes(total_ns=total_ns, bare=bare, cupti=cupti)
    return RunRecord(sample_id="a", role="control", repeat=0, control=times)


def test_hooks_cost_what_hooked_controls_took_more_than_bare_ones() -> None:
    controls = [bare_or_not(ns, bare=False) for ns in (102, 104, 400)]
    controls += [bare_or_not(100, bare=True), bare_or_not(900, bare=False, cupti="attached")]
    found = recording_effect([pair(110, 100)], controls)
    assert found is not None
    assert found.hooks is not None
    assert (found.hooks.median, found.hooks.samples) == (1.04, 1)
    without = recording_effect([pair(110, 100)], controls[:3])
    assert without is not None
    assert without.hooks is None
