"""Which steps are recorded: as many as wanted, first and last, each stretch led by a guard."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from trace_timing.recording.runs.step_plan import LEAST_GAP, StepPlan, plan_steps


def states(plan: StepPlan, steps: int) -> str:
    """One letter a step: r, g or -."""
    letters = {"recorded": "r", "guard": "g", "off": "-"}
    return "".join(letters[plan.state(step)] for step in range(1, steps + 1))


def test_steps_lie_in_short_stretches_over_the_whole_run() -> None:
    plan = plan_steps(511, 32)
    assert plan is not None
    assert plan.stretches == (
        (1, 4), (73, 76), (146, 149), (218, 221), (291, 294), (363, 366), (436, 439), (508, 511),
    )  # fmt: skip
    assert plan.recorded == 32
    assert plan.as_dict()["expected"] == 511


def test_the_step_before_each_stretch_but_the_first_is_its_guard() -> None:
    plan = plan_steps(30, 8)
    assert plan is not None
    assert states(plan, 32) == "rrrr" + "-" * 21 + "grrrr" + "--"


def test_few_steps_are_all_recorded_and_so_are_short_gaps() -> None:
    assert plan_steps(32, 32) is None
    assert plan_steps(33, 32) is None
    assert plan_steps(0, 32) is None
    plan = plan_steps(50, 32)
    assert plan is not None
    assert "r-" in states(plan, 50)
    assert "rgr" not in states(plan, 50)


def test_one_wanted_step_is_the_first_and_two_are_first_and_last() -> None:
    one, two = plan_steps(100, 1), plan_steps(100, 2)
    assert one is not None
    assert two is not None
    assert (one.stretches, two.stretches) == (((1, 1),), ((1, 1), (100, 100)))


def test_where_nobody_knows_how_many_there_will_be_stretches_lie_ever_further_apart() -> None:
    plan = plan_steps(None, 32)
    assert plan is not None
    assert plan.stretches == ((1, 16), (65, 68), (129, 132), (257, 260), (513, 516))
    assert plan.recorded == 32
    assert plan.expected is None


@given(st.integers(1, 2000), st.integers(1, 100))
@example(2, 1)
def test_every_plan_has_what_was_wanted_and_no_gap_that_does_not_pay(
    expected: int, wanted: int
) -> None:
    plan = plan_steps(expected, wanted)
    if plan is None:
        # Stretches of four with the least gap and guard between would not be fewer.
        assert expected <= wanted + (wanted // 4 + 1) * (LEAST_GAP + 1)
        return
    row = states(plan, expected)
    assert row.startswith("r")
    assert wanted == 1 or row.endswith("r")
    assert row.count("r") == plan.recorded >= wanted
    assert "-r" not in row
    assert "rg" not in row
    # Of one step the rest is a gap without a guard step behind it, which pays at any length.
    between = row.rstrip("-").replace("g", "r").split("r")
    assert all(len(gap) >= LEAST_GAP for gap in between if gap)
    assert states(plan, expected + 5)[expected:] == "-----"
