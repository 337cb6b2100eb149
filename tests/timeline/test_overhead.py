"""The cost model: what it reads, what it fits, and how sure it says it is."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from trace_timing.costs import Calibration, Estimate, Factor, ModeCosts
from trace_timing.errors import TraceError
from trace_timing.records import encode
from trace_timing.timeline.overhead import LADDER_SE, Pair, Scale, fit_scale, read_costs


def pairs_of(factor: float, noise: float, count: int, seed: int = 1) -> list[Pair]:
    rng = np.random.default_rng(seed)
    return [
        Pair(
            profiled_ns=round(100_000 + factor * 10_000 + noise * rng.standard_normal()),
            control_ns=100_000,
            predicted_ns=10_000,
        )
        for _ in range(count)
    ]


def test_clean_pairs_overrule_the_ladder() -> None:
    assert fit_scale(pairs_of(1.4, 100, 12)).value == pytest.approx(1.4, abs=0.02)


def test_noisy_pairs_leave_the_ladder_alone() -> None:
    scale = fit_scale(pairs_of(1.4, 40_000, 5))
    assert abs(scale.value - 1) < 0.2
    assert scale.se < LADDER_SE


def test_one_wild_pair_of_twelve_moves_the_factor_little() -> None:
    wild = Pair(profiled_ns=400_000, control_ns=100_000, predicted_ns=10_000)
    assert fit_scale([*pairs_of(1.2, 300, 11), wild]).value == pytest.approx(1.2, abs=0.05)


def test_no_pair_means_the_ladder_with_its_own_doubt() -> None:
    assert fit_scale([]) == Scale(1.0, LADDER_SE, 0)
    assert fit_scale([Pair(profiled_ns=5, control_ns=4, predicted_ns=0)]) == Scale()


def test_the_interval_covers_the_true_factor_most_of_the_time() -> None:
    hits = 0
    for seed in range(200):
        scale = fit_scale(pairs_of(1.1, 2_000, 15, seed), prior=Scale(1.0, 1e3))
        hits += scale.lo <= 1.1 <= scale.hi
    assert hits >= 180


def test_costs_survive_their_json_and_a_negative_one_stays_negative() -> None:
    calibration = Calibration(
        modes={"ranges": ModeCosts(calls={"launch": Estimate(1500, 20)}, wait=Estimate(-300, 50))}
    )
    costs = read_costs(json.loads(encode(calibration)))
    assert costs.call_ns("launch") == 1500
    assert costs.call_ns("sync") == 1500, "an unmeasured kind costs what is known"
    assert costs.wait_ns == -300


def test_a_calibration_tried_on_model_code_starts_from_what_that_showed() -> None:
    costs = ModeCosts(calls={"launch": Estimate(1000, 20)}, in_context=Factor(1.7, 0.1))
    model = read_costs(json.loads(encode(Calibration(modes={"ranges": costs}))))
    assert model.scale.value == 1.7
    # By hand: 15 % of 1.7 is 0.255, beside its own 0.1.
    assert model.scale.se == pytest.approx(0.2739, abs=1e-4)
    assert model.call_ns("launch") == pytest.approx(1700)
    assert fit_scale([], prior=model.scale) == model.scale


def test_a_calibration_of_another_shape_or_mode_is_refused_by_name() -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        read_costs({"modes": 3})
    stored = msgspec.to_builtins(Calibration(modes={}))
    with pytest.raises(TraceError, match="no costs for profile full"):
        read_costs(stored, "full")
    with pytest.raises(TraceError, match="version 99"):
        read_costs({**stored, "version": 99})
