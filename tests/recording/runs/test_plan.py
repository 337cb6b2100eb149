"""Controls and recorded runs of each sample, and what a capture comes to."""

from __future__ import annotations

from trace_timing.recording.runs.plan import RunPlan, count_calls


def test_two_controls_a_sample_and_five_of_every_tenth() -> None:
    plan = RunPlan()
    assert [plan.controls(i) for i in range(12)] == [5, *[2] * 9, 5, 2]
    assert [i for i in range(21) if plan.is_bare_due(i)] == [0, 10, 20]


def test_a_number_of_its_own_is_for_all() -> None:
    assert {RunPlan(control=3).controls(i) for i in range(12)} == {3}
    assert not any(RunPlan(control=0).is_bare_due(i) for i in range(12))


def test_every_so_many_are_recorded_from_the_first_on() -> None:
    plan = RunPlan(record_every=4)
    assert [i for i in range(10) if plan.is_recorded(i)] == [0, 4, 8]


def test_two_thousand_samples_are_6800_calls() -> None:
    count = count_calls(RunPlan(), range(2000), 2000, samples=2000, precise=False)
    assert (count.controls, count.recorded, count.calls) == (4800, 2000, 6800)
    assert count.most_calls == count.calls


def test_a_precision_may_take_every_sample_to_the_most() -> None:
    count = count_calls(RunPlan(most_controls=30), range(10), 10, samples=10, precise=True)
    assert (count.calls, count.most_calls) == (5 + 9 * 2 + 1 + 10, 300 + 1 + 10)
