"""Floors computed by hand: floor ≤ busy ≤ window, or it is said that an assumption is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN
from trace_timing import analyze
from trace_timing.records.manifest import HardwareRates, Manifest, decode_manifest
from trace_timing.records.runs import RunRecord
from trace_timing.stats.trace.diagnosis import why
from trace_timing.stats.trace.roofline import Work, limit, limits, work_by_stage

#: 10 weights wide, 2 layers, 2 heads of 5 of which 1 for keys; 4 words. 2 bytes a weight.
DENSE: dict[str, Any] = {
    "stages": {
        "vision_encoder": {"parameters": 300, "bytes": 600},
        "projector": {"parameters": 50, "bytes": 100},
        "language": {"parameters": 1040, "bytes": 2080},
    },
    "experts": {"parameters": 0, "bytes": 0},
    "text_config": {
        "layers": 2,
        "hidden_size": 10,
        "heads": 2,
        "kv_heads": 1,
        "vocab_size": 4,
    },
}
#: 1 TB/s and 1 PFLOP/s: a thousand bytes take 1 ns, a million operations too.
RATES = HardwareRates(copy_bytes_per_s=1e12, matmul_flops_per_s=1e15, matmul_dtype="bfloat16")


def test_work_of_a_dense_model_by_hand() -> None:
    work = work_by_stage(DENSE, tokens_in=3, tokens_out=3)
    assert work["vision_encoder"] == Work(weight_bytes=600, kv_bytes=0, flops=0)
    assert work["projector"].moved_bytes == 100
    # 1,040 weights less a table of 40; prefill's products less the head's 40 as well.
    # 3 positions make 6 (query, key) pairs of 4 · 2 layers · 10 wide.
    assert work["prefill"] == Work(
        weight_bytes=2000, kv_bytes=2 * 2 * 5 * 3 * 2, flops=2 * 960 * 3 + 4 * 2 * 10 * 6
    )
    # Two steps, of 4 and 5 positions.
    assert work["decode"] == Work(
        weight_bytes=2 * 2000, kv_bytes=2 * 2 * 5 * 9 * 2, flops=2 * 1000 * 2 + 4 * 2 * 10 * 9
    )


def test_of_experts_only_those_a_token_is_routed_to_must_be_read() -> None:
    moe = {
        **DENSE,
        "experts": {"parameters": 800, "bytes": 1600},
        "text_config": {**DENSE["text_config"], "experts": 8, "experts_per_token": 2},
    }
    # 1,040 − 40 − 800 = 200 dense, and 800 · 2/8 of the experts.
    assert work_by_stage(moe, tokens_in=3, tokens_out=2)["decode"].weight_bytes == 2 * 400
    unknown = {**moe, "text_config": DENSE["text_config"]}
    assert "decode" not in work_by_stage(unknown, tokens_in=3, tokens_out=2)


@pytest.mark.parametrize(("tokens_in", "tokens_out"), [(None, 3), (3, 1), (3, None)])
def test_a_stage_without_the_figures_it_needs_has_no_floor(
    tokens_in: int | None, tokens_out: int | None
) -> None:
    work = work_by_stage(DENSE, tokens_in=tokens_in, tokens_out=tokens_out)
    assert "decode" not in work
    assert ("prefill" in work) == (tokens_in is not None)
    assert work_by_stage({}, tokens_in=3, tokens_out=3) == {}


def test_the_floor_is_the_longer_of_bytes_and_operations() -> None:
    memory = limit(
        "decode",
        Work(weight_bytes=40_000, kv_bytes=10_000, flops=10**6),
        RATES,
        busy_ns=100,
        window_ns=400,
    )
    assert (memory.floor_ns, memory.bound_by, memory.floor_frac) == (50, "memory", 0.5)
    assert memory.holds
    compute = limit(
        "prefill",
        Work(weight_bytes=1000, kv_bytes=0, flops=3 * 10**8),
        RATES,
        busy_ns=300,
        window_ns=300,
    )
    assert (compute.floor_ns, compute.bound_by, compute.holds) == (300, "compute", True)


def test_a_floor_above_the_busy_time_is_kept_and_said_to_be_wrong() -> None:
    row = limit(
        "decode", Work(weight_bytes=10**6, kv_bytes=0, flops=0), RATES, busy_ns=10, window_ns=40
    )
    assert (row.floor_ns, row.holds, row.floor_frac) == (1000, False, 100.0)


def test_limits_come_from_manifest_and_record_into_the_run() -> None:
    rates = {"copy_bytes_per_s": 2e10, "matmul_flops_per_s": 1e15, "matmul_dtype": "bfloat16"}
    manifest = Manifest(model=DENSE, rates=rates)
    record = RunRecord(sample_id="s", role="recorded", repeat=0, tokens_in=3, tokens_out=2)
    rows = {
        r.stage: r for r in why(TWO_STAGES, TWO_STAGES_RUN, manifest=manifest, record=record).limits
    }
    # 2,120 bytes at 20 bytes/ns; the stage was busy 200 of 400 ns. One step of 4 positions: 2,160.
    assert (rows["prefill"].floor_ns, rows["prefill"].busy_ns, rows["prefill"].window_ns) == (
        106,
        200,
        400,
    )
    assert rows["decode"].floor_ns == 108
    assert all(row.holds for row in rows.values())
    windows, busy = {"prefill": 400}, {"prefill": 200}
    assert limits(replace(manifest, rates=None), record, windows, busy) == ()
    assert limits(manifest, None, windows, busy) == ()


def test_rates_of_an_older_manifest_stand_in_its_calibration() -> None:
    rates = {"copy_bytes_per_s": 2e10, "matmul_flops_per_s": 1e15, "matmul_dtype": "bfloat16"}
    calibrated = {"calibration": {"modes": {}, "rates": rates}}
    for told, expected in (
        (calibrated, rates),
        ({"calibration": {"modes": {}, "rates": None}}, None),
        ({"calibration": None}, None),
        ({}, None),
        (
            {**calibrated, "rates": {**rates, "copy_bytes_per_s": 1.0}},
            {**rates} | {"copy_bytes_per_s": 1.0},
        ),
    ):
        assert decode_manifest(json.dumps(told), source="manifest.json").rates == expected


@pytest.mark.parametrize("folder", ["tests/data/older_capture", "tests/data/why/components"])
def test_on_real_captures_the_floor_lies_below_the_busy_time_and_that_in_the_window(
    folder: str,
) -> None:
    limits_table = analyze(REPOSITORY / folder).tables["limits"].to_pylist()
    stages = {(row["sample_id"], row["stage"]) for row in limits_table}
    assert {stage for _, stage in stages} >= {"vision_encoder", "prefill", "decode"}
    for row in limits_table:
        assert 0 < row["floor_ns"] <= row["busy_ns"] <= row["window_ns"], row
        assert row["holds"]
    # Decoding one row reads every weight: memory binds it, on any device.
    assert {row["bound_by"] for row in limits_table if row["stage"] == "decode"} == {"memory"}


def test_the_floor_of_a_real_decode_by_hand() -> None:
    capture = REPOSITORY / "tests" / "data" / "older_capture"
    manifest = json.loads((capture / "manifest.json").read_text())
    records = [json.loads(line) for line in (capture / "runs.rank0.jsonl").read_text().splitlines()]
    profiled = next(r for r in records if r["role"] != "control" and r["sample_id"] == "short")
    rows = analyze(capture).tables["limits"].to_pylist()
    (row,) = (r for r in rows if r["stage"] == "decode" and r["sample_id"] == "short")
    text, language = manifest["model"]["text_config"], manifest["model"]["stages"]["language"]
    steps, prompt = profiled["tokens_out"] - 1, profiled["tokens_in"]
    # Llama 8B in bfloat16: all weights but the embedding table, 2 bytes each, once a step.
    table = text["vocab_size"] * text["hidden_size"]
    assert row["weight_bytes"] == steps * 2 * (language["parameters"] - table)
    # Keys and values: 2 · layers · kv_heads · head_dim of 2 bytes a position read.
    positions = sum(prompt + i for i in range(1, steps + 1))
    kv = 2 * 2 * text["layers"] * text["kv_heads"] * text["head_dim"] * positions
    assert row["kv_bytes"] == kv
    rate = manifest["calibration"]["rates"]["copy_bytes_per_s"]
    assert row["floor_ns"] == pytest.approx((row["weight_bytes"] + kv) / rate * 1e9, rel=1e-6)
