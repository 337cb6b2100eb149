"""What profiling did to a capture, from its recorded runs and its controls."""

from __future__ import annotations

from trace_timing.records import ControlTimes, RunRecord
from trace_timing.stats.observer import ObservedRun, observer_effect

#: Seven runs: fewer than six have no interval of their median.
PROFILED = (110, 120, 130, 125, 115, 118, 122)


def observed(repeat: int, profiled: int, control: int) -> ObservedRun:
    return ObservedRun(
        sample_id="a",
        repeat=repeat,
        profiled_ns={"prefill": 50, "decode": profiled, "sampling": 10},
        control_ns={"prefill": 50, "decode": control, "sampling": 5},
    )


def test_each_group_of_stages_has_the_median_of_its_pairs_with_an_interval() -> None:
    runs = [observed(i, profiled, 100) for i, profiled in enumerate(PROFILED)]
    effect = observer_effect(runs, (), 7)
    groups = {group.group: group.effect for group in effect.groups}
    assert set(groups) == {"prefill", "decode", "step", "total"}, "no run has a vision stage"
    assert (groups["decode"].median, groups["decode"].runs) == (1.2, 7)
    assert groups["decode"].interval is not None
    assert 1.2 in groups["decode"].interval
    assert groups["prefill"].median == 1
    assert groups["total"].median == 180 / 155
    assert effect.sentence.startswith("Profiling made runs ×1.161 [")


def test_two_pairs_have_a_median_and_no_interval() -> None:
    effect = observer_effect([observed(0, 110, 100), observed(1, 130, 100)], (), 2)
    total = effect.groups[-1].effect
    assert (total.runs, total.interval) == (2, None)
    assert effect.sentence == "Profiling made runs ×1.161 as long as their controls."


def test_without_a_control_it_says_that_the_effect_is_not_known() -> None:
    effect = observer_effect([], (), 2)
    assert effect.groups == ()
    assert effect.sentence.startswith("No control was taken")
    assert [doubt.code for doubt in effect.doubts] == ["no_control"]


def control(total_ns: int, *, bare: bool, early: bool = False) -> RunRecord:
    cupti = "never" if early else "attached"
    times = ControlTimes(total_ns=total_ns, clock="device", bare=bare, cupti=cupti)
    return RunRecord(sample_id="a", role="control", repeat=0, control=times)


def test_hooks_cost_what_hooked_controls_took_more_than_bare_ones() -> None:
    controls = [control(ns, bare=False) for ns in (102, 104, 400)]
    controls += [control(100, bare=True), control(900, bare=False, early=True)]
    hooks = observer_effect([], controls, 0).hooks
    assert hooks is not None
    assert (hooks.median, hooks.runs) == (1.04, 1)


def test_without_a_bare_control_nothing_is_said_of_hooks() -> None:
    assert observer_effect([], [control(100, bare=False)], 0).hooks is None


def lingers(early: list[int], late: list[int]) -> bool:
    controls = [control(ns, bare=False, early=True) for ns in early]
    controls += [control(ns, bare=False) for ns in late]
    return "profiling_lingers" in {d.code for d in observer_effect([], controls, 0).doubts}


def test_controls_that_all_take_longer_than_before_any_profiling_are_a_doubt() -> None:
    assert lingers([100, 101, 102], [110, 112, 111, 130])


def test_a_noisy_machine_or_a_small_rise_is_none() -> None:
    assert not lingers([100, 101, 140], [110, 112, 111, 130]), "4 of 12 pairs say the opposite"
    assert not lingers([100, 101, 102], [103, 104, 104, 103])
    assert not lingers([100, 101], [110, 112, 111, 130]), "two runs are no measure"
