"""Replay gives back the undisturbed timeline: on a simulated machine, and on real traces."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from tests.timeline import simulator
from trace_timing.costs import CALL_KINDS, Estimate, ModeCosts
from trace_timing.records import STAGES
from trace_timing.stats.observer import judge
from trace_timing.timeline.figures import groups_by_stage, sums
from trace_timing.timeline.layout import RunTimeline
from trace_timing.timeline.overhead import (
    NO_COST,
    CostModel,
    Effect,
    Scale,
    costs_of_effects,
    fit_scale,
)
from trace_timing.timeline.replay import pair_of, replay
from trace_timing.timeline.runs import lay_out
from trace_timing.trace.events import Kind, Trace
from trace_timing.trace.kineto import read_trace

CALL, RANGE, OP, NODE = 1_500, 4_000, 200, 160
RECORDED = simulator.Costs(call=CALL, range=RANGE, op=OP, node=NODE, pause=400_000)


def model(call: float = CALL, range_: float = RANGE) -> CostModel:
    return CostModel(
        mode="ranges",
        costs=ModeCosts(
            calls=dict.fromkeys(CALL_KINDS, Estimate(call, 1.0)),
            range=Estimate(range_, 1.0),
            device_op=Estimate(OP, 1.0),
            graph_node=Estimate(NODE, 1.0),
        ),
        scale=Scale(1.0, 0.0),
    )


def windows(run: RunTimeline) -> dict[str, int]:
    groups = groups_by_stage(run.keys, STAGES)
    total = sums(groups[run.tiles.key], run.tiles.end_ns - run.tiles.start_ns, len(STAGES))
    return {stage: int(total[i]) for i, stage in enumerate(STAGES) if total[i]}


def length(run: RunTimeline) -> int:
    return run.window_end_ns - run.window_start_ns


def laid_out(machine: simulator.Machine) -> tuple[Trace, RunTimeline]:
    trace = machine.trace()
    return trace, lay_out(trace).runs[0]


@pytest.mark.parametrize("program", simulator.PROGRAMS)
def test_every_stage_comes_back_within_half_a_percent_when_the_cost_is_known(program: Any) -> None:
    _, truth = laid_out(simulator.generate(program))
    trace, profiled = laid_out(simulator.generate(program, RECORDED))
    corrected = windows(replay(trace, profiled, model()))
    for stage in ("prefill", "decode", "sampling"):
        assert corrected[stage] == pytest.approx(windows(truth)[stage], rel=0.005), stage


@pytest.mark.parametrize("program", simulator.PROGRAMS)
def test_every_stage_comes_back_within_two_percent_with_the_factor_fitted(program: Any) -> None:
    # The ladder is 30 % too cheap; ten pairs, each run with its own noise, have to say so.
    ladder = model(CALL / 1.3, RANGE / 1.3)
    noise = np.random.default_rng(3)
    pairs = []
    for _ in range(10):
        slow, control_slow = 1 + 0.01 * noise.standard_normal(2)
        trace, run = laid_out(simulator.generate(program, RECORDED, slow=float(slow)))
        _, control = laid_out(simulator.generate(program, slow=float(control_slow)))
        pairs.append(pair_of(trace, run, ladder, length(control)))
    scale = fit_scale(pairs)
    trace, profiled = laid_out(simulator.generate(program, RECORDED))
    corrected = windows(replay(trace, profiled, ladder.scaled(scale.value)))
    truth = windows(laid_out(simulator.generate(program))[1])
    for stage in ("prefill", "decode", "sampling"):
        assert corrected[stage] == pytest.approx(truth[stage], rel=0.02), stage


def test_a_device_bound_stretch_hides_the_cost_and_a_host_bound_one_bears_it() -> None:
    removed = {}
    for program in (simulator.device_bound, simulator.host_bound):
        trace, run = laid_out(simulator.generate(program, RECORDED))
        removed[program] = (
            1 - windows(replay(trace, run, model()))["decode"] / windows(run)["decode"]
        )
    assert removed[simulator.device_bound] < 0.005
    assert removed[simulator.host_bound] > 0.08


@pytest.mark.parametrize("program", simulator.PROGRAMS)
def test_corrected_windows_of_the_stages_sum_to_the_corrected_window(program: Any) -> None:
    trace, run = laid_out(simulator.generate(program, RECORDED))
    replayed = replay(trace, run, model())
    assert sum(windows(replayed).values()) == length(replayed)
    assert length(replayed) < length(run)


def test_durations_of_ops_are_kept() -> None:
    trace, run = laid_out(simulator.generate(simulator.mixed, RECORDED))
    replayed = replay(trace, run, model())
    before = dict(zip(run.ops.row.tolist(), (run.ops.end_ns - run.ops.start_ns), strict=True))
    after = replayed.ops
    assert all(
        before[row] == ns
        for row, ns in zip(after.row.tolist(), (after.end_ns - after.start_ns), strict=True)
    )


def same_times(one: RunTimeline, other: RunTimeline) -> bool:
    return (
        (one.window_start_ns, one.window_end_ns) == (other.window_start_ns, other.window_end_ns)
        and all(
            np.array_equal(getattr(one.ops, name), getattr(other.ops, name))
            for name in ("row", "start_ns", "end_ns", "launch_ns")
        )
        and np.array_equal(one.host.boundary_ns, other.host.boundary_ns)
    )


@pytest.mark.parametrize("program", simulator.PROGRAMS)
def test_at_no_cost_the_replay_is_the_run(program: Any) -> None:
    trace, run = laid_out(simulator.generate(program, RECORDED))
    assert same_times(replay(trace, run, NO_COST), run)


REAL = {
    "llava_llama1b_user_scope": ("llama1b", "user"),
    "llava_llama1b_cpu_cuda": ("llama1b", "cpu+cuda"),
    "molmoe_1crop_user_scope": ("molmoe", "user"),
    "llava_olmoe_cpu_cuda": ("olmoe", "cpu+cuda"),
}


@pytest.fixture(scope="module")
def real(h200: Path) -> dict[str, tuple[Trace, RunTimeline]]:
    traces = {n: read_trace(h200 / f"{n}.json.gz", cpu_ops=True) for n in REAL}
    return {name: (trace, lay_out(trace).runs[0]) for name, trace in traces.items()}


@pytest.mark.parametrize("name", REAL)
def test_at_no_cost_the_replay_of_a_real_trace_is_the_trace(real: Any, name: str) -> None:
    trace, run = real[name]
    assert same_times(replay(trace, run, NO_COST), run)


def step_ms(run: RunTimeline) -> float:
    """Median forward begins → next forward begins, the last closed by the window's end."""
    begins = sorted(r.start_ns for r in run.ranges if run.keys[r.key or 0].stage == "decode")
    return float(np.median(np.diff([*begins, run.window_end_ns])) / 1e6)


def recorded_per_step(trace: Trace, run: RunTimeline) -> tuple[float, float]:
    begins = sorted(r.start_ns for r in run.ranges if run.keys[r.key or 0].stage == "decode")
    starts = trace.events.start_ns
    inside = (starts >= begins[0]) & (starts < begins[-1])
    counts = [int((inside & (trace.events.kind == k)).sum()) for k in (Kind.CALL, Kind.CPU_OP)]
    return counts[0] / (len(begins) - 1), counts[1] / (len(begins) - 1)


def decode_rows(shared: Path, name: str) -> dict[str, list[float]]:
    data = json.loads((shared / "truth" / f"{name}.json").read_text())
    if name == "molmoe":
        return {mode: [row["decode"]] for mode, row in data["1_crop"].items()}
    return {mode: [r["decode"] for r in rows] for mode, rows in data["modes"].items()}


@pytest.fixture(scope="module")
def fitted(shared: Path, real: Any) -> dict[str, CostModel]:
    """Costs over all models of truth/, then each series' own medians for the factor."""
    counts = json.loads((shared / "truth" / "molmoe.json").read_text())["counts"]
    calls = {m: recorded_per_step(*real[n])[0] for n, (m, _) in REAL.items()}
    ops = {m: recorded_per_step(*real[n])[1] for n, (m, mode) in REAL.items() if mode != "user"}
    ops["molmoe"] = counts["cpu_ops"] / 5
    rows = {
        name: {mode: median(values) * 1e6 for mode, values in decode_rows(shared, name).items()}
        for name in calls
    }
    effects = [
        Effect(
            added_ns=rows[name][mode] - rows[name]["none"],
            calls=calls[name],
            cpu_ops=ops[name] if mode == "cpu+cuda" else 0,
            unprofiled_ns=rows[name]["none"],
        )
        for name in calls
        for mode in ("user", "cuda", "cpu+cuda")
        if mode in rows[name]
    ]
    costs = costs_of_effects(effects)
    models = {}
    for name, (model_name, mode) in REAL.items():
        rows_of = decode_rows(shared, model_name)
        per_op = costs.cpu_op_ns * ops[model_name] if mode == "cpu+cuda" else 0
        predicted = round(costs.call_ns("launch") * calls[model_name] + per_op)
        added = (median(rows_of[mode]) - median(rows_of["none"])) * 1e6
        models[name] = costs.scaled(added / predicted)
    return models


@pytest.mark.parametrize("name", [n for n in REAL if "olmoe_cpu" not in n])
def test_corrected_decode_is_within_8_percent_of_unprofiled_decode(
    shared: Path, real: Any, fitted: Any, name: str
) -> None:
    trace, run = real[name]
    truth = median(decode_rows(shared, REAL[name][0])["none"])
    assert step_ms(run) / truth > 1.12
    assert step_ms(replay(trace, run, fitted[name])) / truth == pytest.approx(1, abs=0.08)


def test_a_run_at_half_speed_is_noise_and_not_the_profilers_doing(
    shared: Path, real: Any, fitted: Any
) -> None:
    trace, run = real["llava_olmoe_cpu_cuda"]
    control = median(decode_rows(shared, "olmoe")["none"])
    corrected = step_ms(replay(trace, run, fitted["llava_olmoe_cpu_cuda"]))
    assert judge("step", [step_ms(run)], [control], [corrected]).verdict == "cannot_tell"


def test_molmoe_replays_within_a_second(real: Any, fitted: Any) -> None:
    trace, run = real["molmoe_1crop_user_scope"]
    begin = time.process_time()
    replay(trace, run, fitted["molmoe_1crop_user_scope"])
    assert time.process_time() - begin < 1
