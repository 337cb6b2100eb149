"""A verdict speaks only where the evidence carries it, and says which evidence that is."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from tests.paths import DATA
from trace_timing.schema.breakdown import Communication, IdleCause, KindTime, QueueFigures, SyncLoop
from trace_timing.stages import Stage
from trace_timing.stats.trace.bottlenecks import StageEvidence, verdicts
from trace_timing.stats.trace.diagnosis import why
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.files.reading import open_trace
from trace_timing.trace.kineto.reader import read_trace

MS = 1_000_000
#: A real one, of a batch large enough that the host runs ahead.
DEVICE_BOUND_TRACES = DATA / "device_bound" / "traces"
#: Recorded by benchmarks/why_captures.py.
WHY_TRACES = DATA / "why"


def _cause(cause: str, idle_ns: int, call: str | None = None, count: int = 1) -> IdleCause:
    call_ns = None if call is None else idle_ns
    return IdleCause(
        stage="decode", cause=cause, call=call, count=count, call_ns=call_ns, idle_ns=idle_ns
    )  # type: ignore[arg-type]


def _queue(starved: int) -> QueueFigures:
    return QueueFigures(
        stage="decode",
        gpu_ops=100,
        mean_depth=1.0,
        max_depth=9,
        launches=100,
        starved_launches=starved,
        launch_bound_ns=0,
        launch_bound_frac=0.0,
        latency_p50_ns=None,
        latency_p95_ns=None,
    )


#: 100 ms of decode, of which the device works 20 and starves in between.
HOST_BOUND = StageEvidence(
    stage="decode",
    window_ns=100 * MS,
    busy_ns=20 * MS,
    run_ns=200 * MS,
    forwards=4,
    causes=(_cause("host", 60 * MS), _cause("launch_latency", 20 * MS)),
    queue=_queue(90),
)
#: The host runs ahead: 96 ms of 100 busy, a full queue.
DEVICE_BOUND = StageEvidence(
    stage="decode",
    window_ns=100 * MS,
    busy_ns=96 * MS,
    run_ns=200 * MS,
    forwards=4,
    causes=(_cause("device_gap", 4 * MS),),
    kinds=(
        KindTime(
            stage="decode", op_kind="gemm", gpu_ops=90, kernel_sum_ns=72 * MS, busy_ns=72 * MS
        ),
        KindTime(
            stage="decode", op_kind="attention", gpu_ops=9, kernel_sum_ns=24 * MS, busy_ns=24 * MS
        ),
    ),
    queue=_queue(2),
)
LOOP = SyncLoop(
    stage="decode",
    syncs=4096,
    call="cudaStreamSynchronize",
    call_count=4096,
    run_call_count=5120,
    forwards=4,
    ops_between_median=5.0,
    after_compaction=4000,
    after_gemm=512,
    after_copy_to_host=4096,
    drained_ns=25 * MS,
)


def _codes(evidence: StageEvidence) -> list[str]:
    return [verdict.code for verdict in verdicts(evidence)]


def test_a_starving_device_is_host_bound_with_its_idle_share() -> None:
    (verdict,) = verdicts(HOST_BOUND)
    assert verdict.code == "host_bound"
    assert "idles 80% of its time" in verdict.sentence
    assert verdict.evidence == (
        "20.0 ms busy of 100.0 ms (as profiled, the profiler's own cost included); 100% of the "
        "idle time is the host's between launches; 90% of 100 launches found the GPU with nothing "
        "to do"
    )
    assert "CUDA graphs" in verdict.remedy


@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        ("decode", "CUDA graphs"),
        ("mixed", "CUDA graphs"),
        ("draft", "CUDA graphs"),
        ("sampling", "logits processors"),
        ("other", "around the forwards"),
        ("prefill", "to fuse and graph its launches"),
        ("vision_encoder", "to fuse and graph its launches"),
    ],
)
def test_the_remedy_is_one_for_the_stage(stage: Stage, remedy: str) -> None:
    (verdict,) = verdicts(replace(HOST_BOUND, stage=stage))
    assert (verdict.code, verdict.stage) == ("host_bound", stage)
    assert remedy in verdict.remedy


def test_a_device_that_never_waits_is_device_bound_and_nothing_else() -> None:
    (verdict,) = verdicts(DEVICE_BOUND)
    assert verdict.code == "device_bound"
    assert verdict.evidence == "of the busy time: gemm 75%, attention 25%"


@pytest.mark.parametrize(
    "evidence",
    [
        replace(HOST_BOUND, window_ns=1 * MS, busy_ns=0),  # too short a stage to matter
        replace(HOST_BOUND, queue=_queue(50)),  # as many launches found it busy as idle
        replace(HOST_BOUND, queue=None),
        replace(HOST_BOUND, causes=(_cause("tail", 80 * MS),)),  # idle after the work was done
        replace(HOST_BOUND, busy_ns=55 * MS, causes=(_cause("host", 45 * MS),)),
        replace(HOST_BOUND, window_ns=0, busy_ns=0),
    ],
)
def test_no_verdict_without_the_evidence(evidence: StageEvidence) -> None:
    assert verdicts(evidence) == ()


def test_a_sync_after_each_compaction_is_an_expert_loop() -> None:
    loop, bound = verdicts(replace(HOST_BOUND, loop=LOOP))
    assert loop.code == "expert_sync_loop"
    assert "4,096 times (5,120 cudaStreamSynchronize in the run)" in loop.sentence
    assert "4,000 of 4,096 synchronizations follow a compaction" in loop.evidence
    assert "idles 25.0 ms (25%) in the gaps around them" in loop.evidence
    assert "grouped" in loop.remedy
    assert bound.remedy.startswith("remove the synchronizations first")


def test_other_frequent_syncs_are_not_called_an_expert_loop() -> None:
    for change in ({"after_compaction": 3}, {"after_gemm": 0}):
        loop = structs.replace(LOOP, **change)
        assert _codes(replace(DEVICE_BOUND, loop=loop))[0] == "sync_bound"


def test_a_few_syncs_a_forward_are_no_loop() -> None:
    # One a forward: the token itself has to reach the host.
    few = structs.replace(LOOP, call_count=4, syncs=4, after_compaction=4)
    assert _codes(replace(DEVICE_BOUND, loop=few)) == ["device_bound"]


def test_syncs_that_cost_next_to_nothing_are_no_verdict() -> None:
    cheap = structs.replace(LOOP, drained_ns=4 * MS)
    assert _codes(replace(DEVICE_BOUND, loop=cheap)) == ["device_bound"]


def test_work_that_is_launched_and_does_not_start_is_held_up() -> None:
    waiting = (_cause("device_gap", 30 * MS), _cause("launch_latency", 45 * MS))
    (verdict,) = verdicts(replace(HOST_BOUND, queue=_queue(20), causes=waiting))
    assert verdict.code == "held_up"
    assert "75% of its time work is launched and none of it runs" in verdict.sentence
    assert "another process" in verdict.remedy
    less = (_cause("device_gap", 20 * MS), _cause("tail", 60 * MS))  # no more than it works
    assert verdicts(replace(HOST_BOUND, queue=_queue(20), causes=less)) == ()
    rather_host = (_cause("device_gap", 39 * MS), _cause("host", 41 * MS))
    assert verdicts(replace(HOST_BOUND, queue=_queue(20), causes=rather_host)) == ()


def test_allocator_calls_are_named_with_count_and_time() -> None:
    causes = (_cause("alloc", 30 * MS, "cudaMalloc", 7), _cause("host", 30 * MS))
    verdict = verdicts(replace(HOST_BOUND, busy_ns=40 * MS, causes=causes))[0]
    assert verdict.code == "allocator"
    assert verdict.evidence == "7 cudaMalloc; 30.00 ms idle inside them"
    assert "empty_cache" in verdict.remedy


def test_exposed_collectives_and_copies_have_verdicts_of_their_own() -> None:
    nccl = Communication(stage="decode", device=1, nccl_ops=8, hidden_ns=2 * MS, exposed_ns=20 * MS)
    copies = KindTime(
        stage="decode", op_kind="memcpy_htod", gpu_ops=3, kernel_sum_ns=30 * MS, busy_ns=30 * MS
    )
    found = verdicts(
        replace(DEVICE_BOUND, communication=(nccl,), kinds=(*DEVICE_BOUND.kinds, copies))
    )
    # 76 of 96 ms are not spent in collectives: too little to call it device-bound.
    assert [v.code for v in found] == ["exposed_communication", "copies"]
    assert "8 collectives, 20.00 ms exposed, 2.00 ms hidden" in found[0].evidence
    assert "3 memcpy_htod; 30.00 ms" in found[1].evidence


def test_a_device_that_waits_in_collectives_is_not_device_bound() -> None:
    few = Communication(stage="decode", device=0, nccl_ops=8, hidden_ns=0, exposed_ns=6 * MS)
    more = structs.replace(few, exposed_ns=7 * MS)
    assert _codes(replace(DEVICE_BOUND, communication=(few,)))[-1] == "device_bound"
    assert _codes(replace(DEVICE_BOUND, communication=(more,))) == ["exposed_communication"]


def test_molmoe_decode_names_the_expert_loop_with_its_counts(h200: Path) -> None:
    trace = read_trace(h200 / "molmoe_1crop_user_scope.json.gz")
    (run,) = lay_out(trace).runs
    by_code = {(v.stage, v.code): v for v in why(trace, run).verdicts}
    loop = by_code["decode", "expert_sync_loop"]
    assert "once per expert" in loop.sentence
    assert "5,760 times (7,211 cudaStreamSynchronize in the run)" in loop.sentence
    assert "1,440 a forward" in loop.evidence
    assert ("decode", "host_bound") in by_code
    assert not {code for _, code in by_code} & {"held_up", "device_bound", "allocator"}


def test_two_processes_on_one_device_hold_each_other_up() -> None:
    for rank in (0, 1):
        trace = open_trace(WHY_TRACES / f"ranks/traces/ranks-7cad15d4.r0.k{rank}.json.gz")
        (run,) = lay_out(trace).runs
        codes = {(v.stage, v.code) for v in why(trace, run).verdicts}
        assert {("prefill", "held_up"), ("decode", "held_up")} <= codes
        assert not {code for stage, code in codes if stage != "other"} & {"host_bound"}


def test_the_rank_that_waits_in_collectives_is_not_called_busy_nor_held_up() -> None:
    made = []
    for rank in (0, 1):
        trace = open_trace(
            WHY_TRACES / f"tensor_parallel/traces/tensor_parallel-93be662f.r0.k{rank}.json.gz"
        )
        (run,) = lay_out(trace).runs
        made.append({(v.stage, v.code): v for v in why(trace, run).verdicts})
    first, second = made
    assert {code for stage, code in first if stage == "decode"} == {"host_bound"}
    assert {code for stage, code in second if stage == "decode"} == {"exposed_communication"}
    assert "87% of its time" in second["decode", "exposed_communication"].sentence
    assert {("prefill", "exposed_communication")} <= first.keys() & second.keys()
    assert not {code for _, code in second} & {"device_bound", "held_up"}


def test_an_emptied_cache_makes_prefill_wait_for_the_allocator() -> None:
    trace = open_trace(WHY_TRACES / "allocator/traces/allocator-09290cc1.r0.k0.json.gz")
    (run,) = lay_out(trace).runs
    by_code = {(v.stage, v.code): v for v in why(trace, run).verdicts}
    assert by_code["prefill", "allocator"].evidence == "11 cudaMalloc; 1.62 ms idle inside them"
    assert not [stage for stage, code in by_code if code == "allocator" and stage != "prefill"]


def _idle_share_by_hand(path: Path) -> float:
    """Of the decode ranges, what no op launched in them covers: read without the package.

    The ops of these traces run one after another, so their durations simply add up.
    """
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    spans = [
        (e["ts"], e["ts"] + e["dur"])
        for e in events
        if e.get("cat") == "user_annotation" and e["name"].startswith("decode[")
    ]
    launched = {
        e["args"]["correlation"]
        for e in events
        if e.get("cat") in ("cuda_runtime", "cuda_driver")
        and any(a <= e["ts"] < b for a, b in spans)
    }
    busy = sum(
        e["dur"]
        for e in events
        if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")
        and e["args"]["correlation"] in launched
    )
    return 1 - busy / sum(b - a for a, b in spans)


@pytest.mark.parametrize(
    "name", ["llava_llama1b_user_scope", "llava_llama1b_cpu_cuda", "llava_olmoe_cpu_cuda"]
)
def test_llava_decode_is_host_bound_with_its_idle_share(h200: Path, name: str) -> None:
    trace = read_trace(h200 / f"{name}.json.gz")
    (run,) = lay_out(trace).runs
    (decode,) = (v for v in why(trace, run).verdicts if v.stage == "decode")
    assert decode.code == "host_bound"
    match = re.search(r"idles (\d+)% of its time", decode.sentence)
    assert match is not None
    # To the percent: windows differ from ranges by a launch.
    by_hand = _idle_share_by_hand(h200 / f"{name}.json.gz")
    assert int(match[1]) / 100 == pytest.approx(by_hand, abs=0.011)
    assert by_hand > 0.8


def test_a_large_batch_is_device_bound_in_prefill_and_decode_and_nothing_else() -> None:
    (path,) = DEVICE_BOUND_TRACES.glob("*.json.gz")
    trace = read_trace(path)
    (run,) = lay_out(trace).runs
    codes = {(v.stage, v.code) for v in why(trace, run).verdicts}
    assert {("prefill", "device_bound"), ("decode", "device_bound")} <= codes
    assert not {code for _, code in codes} & {"host_bound", "sync_bound", "expert_sync_loop"}
