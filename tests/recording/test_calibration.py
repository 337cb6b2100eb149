"""The ladder's arithmetic, and what its loops record; times themselves need a GPU."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from trace_timing.costs import Estimate, Ladder
from trace_timing.errors import CaptureError
from trace_timing.recording.calibration import calibrate, fit_costs, robust

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


def test_one_disturbed_round_does_not_move_a_figure() -> None:
    quiet = np.full(9, 1000.0) + np.arange(9)
    assert robust([*quiet, 50_000.0]).value_ns == pytest.approx(1004.5)


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(CaptureError, match="no CUDA device"):
        calibrate()
