"""Several GPUs, on two real captures: every figure against a plain reading of the trace's JSON."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from trace_timing import analyze
from trace_timing.schema import SAMPLE_PARTS
from trace_timing.timeline.breakdown.communication import communication
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.kineto.reader import read_trace

#: Recorded on two H100 by benchmarks/why_captures.py.
WHY_TRACES = REPOSITORY / "tests" / "data" / "why"
SHARDED = WHY_TRACES / "tensor_parallel"
SPLIT = WHY_TRACES / "devices"

Interval = tuple[int, int]


def _events(path: str) -> list[dict[str, Any]]:
    document = json.loads(gzip.decompress((WHY_TRACES / path).read_bytes()))
    return [event for event in document["traceEvents"] if event.get("ph") == "X"]


def _rank(rank: int) -> str:
    return f"tensor_parallel/traces/tensor_parallel-93be662f.r0.k{rank}.json.gz"


def _ops(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]


def _interval(event: dict[str, Any]) -> Interval:
    start = round(event["ts"] * 1000)
    return start, start + round(event["dur"] * 1000)


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _length(intervals: Iterable[Interval]) -> int:
    return sum(end - start for start, end in _merged(intervals))


def _hidden(collectives: list[Interval], others: list[Interval]) -> int:
    """Time in both: |A| + |B| − |A ∪ B|."""
    return _length(collectives) + _length(others) - _length([*collectives, *others])


def _stage_at(events: list[dict[str, Any]], us: float) -> str:
    """The stage of the collectives of this model: all are launched in a forward, or before."""
    for event in events:
        stage = str(event["name"]).split("[")[0]
        if (
            event.get("cat") == "user_annotation"
            and stage in ("prefill", "decode")
            and event["ts"] <= us < event["ts"] + event["dur"]
        ):
            return stage
    return "unattributed"


@pytest.mark.parametrize("rank", [0, 1])
def test_collectives_of_a_shard_are_exposed_or_hidden_as_its_json_says(rank: int) -> None:
    events = _events(_rank(rank))
    launched_us = {
        e["args"]["correlation"]: e["ts"]
        for e in events
        if e.get("cat") in ("cuda_runtime", "cuda_driver")
    }
    ops, counts = _ops(events), Counter[str]()
    others = [_interval(e) for e in ops if not e["name"].startswith("nccl")]
    by_stage: dict[str, list[Interval]] = {"prefill": [], "decode": [], "unattributed": []}
    for op in ops:
        assert op["args"].get("device", op["pid"]) == rank
        if op["name"].startswith("nccl"):
            stage = _stage_at(events, launched_us[op["args"]["correlation"]])
            by_stage[stage].append(_interval(op))
            counts[stage] += 1
    # 16 layers reduce twice each, in one prefill and three decode steps; a barrier comes before.
    assert counts == {"prefill": 32, "decode": 96, "unattributed": 1}
    trace = read_trace(WHY_TRACES / _rank(rank))
    (run,) = lay_out(trace).runs
    rows = {row.stage: row for row in communication(trace, run)}
    assert rows.keys() == by_stage.keys()
    for stage, collectives in by_stage.items():
        row, hidden = rows[stage], _hidden(collectives, others)  # type: ignore[index]
        assert (row.device, row.nccl_ops) == (rank, counts[stage])
        assert row.hidden_ns == hidden
        assert row.exposed_ns == _length(collectives) - hidden


def test_the_shard_that_others_wait_for_is_named_though_its_device_has_no_more_to_do() -> None:
    analysis = analyze(SHARDED)
    assert analysis.checks_hold
    assert analysis.samples["rank"].tolist() == [0, 1]
    ranks = analysis.tables["ranks"].to_pandas().set_index("stage")
    assert "unattributed" not in ranks.index
    # In decode rank 1 is 94 ms in collectives, rank 0 0.6 ms; outside they work 5.8 and 5.7 ms.
    waits = {
        rank: _length(
            _interval(op)
            for op in _ops(events)
            if op["name"].startswith("nccl") and _begun_in_decode(events, op)
        )
        for rank, events in ((rank, _events(_rank(rank))) for rank in (0, 1))
    }
    assert waits[1] > 100 * waits[0]
    decode = ranks.loc["decode"]
    assert (decode["awaited_rank"], decode["wait_spread_ns"]) == (0, waits[1] - waits[0])
    assert decode["spread_ns"] < 100_000
    busy = analysis.stages.set_index(["rank", "stage"])["busy_ns"]
    assert decode["slowest_rank"] == 0
    assert decode["own_ns"] == busy[0, "decode"] - waits[0]
    (section,) = [s for s in analysis.report_data().sections if s.slug == "why"]
    assert section.sentences[-1].startswith("Ranks wait longest for rank 0, in decode of tensor_")


def _begun_in_decode(events: list[dict[str, Any]], op: dict[str, Any]) -> bool:
    """Whether the call with its correlation id lies in a decode step."""
    (call,) = (
        e
        for e in events
        if e.get("cat") in ("cuda_runtime", "cuda_driver")
        and e["args"]["correlation"] == op["args"]["correlation"]
    )
    return _stage_at(events, call["ts"]) == "decode"


def test_shards_of_one_host_are_aligned_by_their_clock() -> None:
    spans = analyze(SHARDED).tables["spans"].to_pandas().groupby("rank")
    begins = []
    for rank in (0, 1):
        (generate,) = (
            e
            for e in _events(_rank(rank))
            if (e.get("cat"), e["name"]) == ("user_annotation", "generate")
        )
        begins.append(round(generate["ts"] * 1000))
    first = spans["begin_unix_ns"].min()
    # Both files count from one baseTimeNanoseconds.
    assert [first[0], first[1]] == [1_790_857_026_000_000_000 + begin for begin in begins]
    # A barrier comes right before generate.
    assert abs(begins[1] - begins[0]) < 10_000


def test_one_model_over_two_devices_keeps_the_checks_for_both_and_for_each() -> None:
    ops = _ops(_events("devices/traces/devices-ade15a12.r0.k0.json.gz"))
    analysis = analyze(SPLIT)
    assert analysis.checks_hold
    by_device = analysis.device_stages.groupby("device")
    (window_ms,) = analysis.samples["T_total_recorded_ms"]
    assert by_device["window_ns"].sum().tolist() == [round(window_ms * 1e6)] * 2
    assert analysis.stages["window_ns"].sum() == round(window_ms * 1e6)
    sums = by_device[["busy_ns", "idle_ns", "kernel_sum_ns", "gpu_ops"]].sum()
    for device in (0, 1):
        # Copies between devices name both and lie on the track of the one that makes them.
        own = [_interval(op) for op in ops if op["args"].get("device", op["pid"]) == device]
        assert sums["gpu_ops"][device] == len(own)
        assert sums["kernel_sum_ns"][device] == sum(end - start for start, end in own)
        assert sums["busy_ns"][device] == _length(own)
        assert sums["busy_ns"][device] + sums["idle_ns"][device] == round(window_ms * 1e6)
    assert analysis.stages["kernel_sum_ns"].sum() == sums["kernel_sum_ns"].sum()
    assert analysis.stages["busy_ns"].sum() == _length(_interval(op) for op in ops)


def test_copies_between_devices_are_a_kind_of_their_own() -> None:
    ops = _ops(_events("devices/traces/devices-ade15a12.r0.k0.json.gz"))
    copies = [op for op in ops if "PtoP" in op["name"]]
    kinds = analyze(SPLIT).tables["kinds"].to_pandas()
    peer = kinds[kinds["op_kind"] == "memcpy_peer"]
    assert peer["gpu_ops"].sum() == len(copies) == 88
    assert peer["kernel_sum_ns"].sum() == sum(round(op["dur"] * 1000) for op in copies)
    assert set(peer["stage"]) == {"prefill", "decode"}


def test_stages_are_the_recorded_windows_scaled_to_the_total_of_the_controls() -> None:
    """CUDA events of one device say nothing of another: the controls time whole runs."""
    analysis = analyze(SPLIT)
    (row,) = analysis.samples.to_dict("records")
    assert (row["latency_source"], row["reasons"].split(",")[0]) == ("scaled", "scaled_by_total")
    controls = analysis.runs[analysis.runs["counted"] == True]  # noqa: E712
    assert row["T_total_ms"] == pytest.approx(controls["T_total_ms"].mean())
    assert controls["T_LLM_decode_ms"].isna().all()
    parts = sum(row[f"{part}_ms"] for part in SAMPLE_PARTS if row[f"{part}_ms"] is not None)
    assert parts == pytest.approx(row["T_total_ms"])
    assert "scaled_by_total" in {warning.code for warning in analysis.warnings}
