"""The lower envelope: a figure that the host's noise does not touch."""

from __future__ import annotations

from trace_timing.stats.methods.envelope import undisturbed


def test_the_undisturbed_figure_ignores_disturbance_and_the_one_lucky_step() -> None:
    steps = [5.0, *[10.0] * 12, *[30.0] * 9]
    assert undisturbed(steps) == 10.0
    assert undisturbed([]) is None
