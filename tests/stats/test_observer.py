"""Verdicts on the observer effect of a capture, and what stands beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trace_timing.records import ControlTimes, RunRecord
from trace_timing.stats.observer import ObservedRun, judge, observer_effect


def test_profiled_runs_that_came_out_faster_mean_that_nothing_can_be_told(shared: Path) -> None:
    modes = json.loads((shared / "truth" / "llama8b.json").read_text())["modes"]
    profiled = [row["decode"] for row in modes["user"]]
    control = [row["decode"] for row in modes["none"]]
    found = judge("decode", profiled, control)
    assert found.verdict == "cannot_tell"


def test_a_clear_effect_taken_out_is_good_and_one_left_in_is_off() -> None:
    rng = np.random.default_rng(0)
    control = 100 + rng.standard_normal(12)
    profiled = control * 1.2 + rng.standard_normal(12)
    assert judge("total", profiled, control, profiled / 1.2).verdict == "good"
    assert judge("total", profiled, control, profiled / 1.05).verdict == "off"


def test_a_correction_that_noise_leaves_anywhere_is_not_called_good() -> None:
    rng = np.random.default_rng(0)
    control = 100 + 12 * rng.standard_normal(12)
    profiled = 150 + 12 * rng.standard_normal(12)
    found = judge("total", profiled, control, profiled / 1.5)
    assert found.residual is not None
    assert found.residual.interval is not None
    assert 1 in found.residual.interval
    assert found.verdict == "imprecise"


def observed(repeat: int, profiled: list[int], control: list[int]) -> ObservedRun:
    return ObservedRun(
        sample_id="a",
        repeat=repeat,
        profiled_ns={"decode": sum(profiled)},
        corrected_ns={"decode": sum(profiled) - 10 * len(profiled)},
        control_ns={"decode": sum(control)},
        profiled_steps_ns=profiled,
        corrected_steps_ns=[ns - 10 for ns in profiled],
        control_steps_ns=control,
    )


def test_steps_at_the_undisturbed_speed_leave_a_slow_run_out() -> None:
    quick = observed(0, [112] * 8, [100] * 8)
    disturbed = observed(1, [300] * 8, [250] * 8)
    effect = observer_effect([quick, disturbed], (), 2)
    step = effect.undisturbed_step
    assert step is not None
    assert "a decode step takes 0.00 ms" in effect.sentence
    assert (step.profiled_ns, step.corrected_ns, step.control_ns) == (112, 102, 100)
    assert step.residual == pytest.approx(1.02)


def test_a_handful_of_steps_has_no_envelope() -> None:
    assert observer_effect([observed(0, [110] * 4, [100] * 4)], (), 1).undisturbed_step is None


def control(total_ns: int, *, bare: bool, early: bool = False) -> RunRecord:
    times = ControlTimes(total_ns=total_ns, clock="device", bare=bare, before_profiling=early)
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
