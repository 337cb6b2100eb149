"""The ladder's arithmetic, and what its loops record; times themselves need a GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from trace_timing.costs import Estimate, Ladder
from trace_timing.errors import CaptureError
from trace_timing.recording.calibration import calibrate, context_factor, fit_costs, robust
from trace_timing.recording.probes import Probe
from trace_timing.recording.workloads import model_probes

pytestmark = pytest.mark.capture
TRUE = {"launch": 1500.0, "sync": 900.0, "cpu_op": 1100.0, "wait": -400.0}


def rung(counts: dict[str, float], error: float = 0.0, se: float = 10.0) -> Ladder:
    added = sum(TRUE[term] * n for term, n in counts.items()) + error
    return Ladder(
        probe="some",
        mode="full",
        unprofiled=Estimate(5000, se),
        added=Estimate(added, se),
        fitted_ns=0,
        counts=counts,
    )


RUNGS = (
    {"cpu_op": 1},
    {"cpu_op": 3},
    {"launch": 1, "cpu_op": 1},
    {"sync": 1},
    {"launch": 1, "sync": 1, "cpu_op": 1, "wait": 1},
)


def test_loops_that_differ_in_what_they_record_tell_the_costs_apart() -> None:
    costs, rungs = fit_costs([rung(counts) for counts in RUNGS])
    assert costs["calls"]["launch"].value_ns == pytest.approx(1500)
    assert costs["calls"]["sync"].value_ns == pytest.approx(900)
    assert costs["cpu_op"].value_ns == pytest.approx(1100)
    assert costs["range"] is None, "no rung had one"
    assert all(r.fitted_ns == pytest.approx(r.added.value_ns) for r in rungs)


def test_a_negative_cost_is_reported_as_it_is() -> None:
    costs, _ = fit_costs([rung(counts) for counts in RUNGS])
    assert costs["wait"].value_ns == pytest.approx(-400)


def test_rungs_that_disagree_by_more_than_their_errors_widen_the_errors() -> None:
    agreeing, _ = fit_costs([rung(counts) for counts in RUNGS])
    scattered = [rung(c, error=200 * (-1) ** i) for i, c in enumerate(RUNGS)]
    disagreeing, _ = fit_costs(scattered)
    assert disagreeing["cpu_op"].se_ns > 3 * agreeing["cpu_op"].se_ns


def test_what_model_code_adds_is_compared_with_the_fit_and_not_in_it() -> None:
    tight = [rung(counts) for counts in RUNGS]
    model = rung({"launch": 100, "cpu_op": 300}, error=0.5 * (100 * 1500 + 300 * 1100))
    costs, rungs = fit_costs(tight, [model])
    assert costs["calls"]["launch"].value_ns == pytest.approx(1500)
    assert rungs[-1].fitted_ns == pytest.approx(480_000)
    assert rungs[-1].added.value_ns == pytest.approx(1.5 * 480_000)


def compared(factor: float, se: float) -> Ladder:
    return replace(rung({}), added=Estimate(1000 * factor, 1000 * se), fitted_ns=1000.0)


def test_loops_of_one_factor_give_it_with_the_error_of_their_mean() -> None:
    factor = context_factor([compared(1.6, 0.04), compared(1.6, 0.03)])
    assert factor is not None
    assert factor.value == pytest.approx(1.6)
    assert factor.se == pytest.approx((1 / 0.04**2 + 1 / 0.03**2) ** -0.5)


def test_loops_of_differing_factors_make_the_next_one_as_uncertain_as_they_differ() -> None:
    # By hand, errors of 0.1: Q = 200, its excess over 1 degree of freedom 199, of 200 − 100.
    factor = context_factor([compared(1.0, 0.1), compared(3.0, 0.1)])
    assert factor is not None
    assert factor.value == pytest.approx(2.0)
    assert factor.se == pytest.approx((1.99 + (0.01 + 1.99) / 2) ** 0.5)


def test_one_loop_of_model_code_says_nothing_of_the_next() -> None:
    assert context_factor([compared(1.5, 0.1)]) is None


@pytest.mark.parametrize("probe", model_probes(torch.device("cpu")), ids=lambda p: p.name)
def test_loops_of_model_code_launch_hundreds_of_ops_an_iteration(probe: Probe) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as session:
        probe.loop(1)
    assert len(session.events()) > 500


def test_one_disturbed_round_does_not_move_a_figure() -> None:
    quiet = np.full(9, 1000.0) + np.arange(9)
    assert robust([*quiet, 50_000.0]).value_ns == pytest.approx(1004.5)


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(CaptureError, match="no CUDA device"):
        calibrate()
