"""What lies between two synchronizing calls: that is how a loop over experts is known."""

from __future__ import annotations

from pathlib import Path

from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN
from trace_timing.timeline.breakdown.sync_loops import sync_loops
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.kineto.reader import read_trace


def test_syncs_of_a_hand_made_run() -> None:
    prefill, decode = sync_loops(TWO_STAGES, TWO_STAGES_RUN)
    assert (prefill.call, prefill.call_count, prefill.run_call_count) == (
        "cudaStreamSynchronize",
        1,
        1,
    )
    assert (decode.call, decode.syncs, decode.forwards) == ("cudaDeviceSynchronize", 1, 1)
    # Two ops before each; before the first a product and a copy to the host.
    assert (prefill.ops_between_median, decode.ops_between_median) == (2.0, 2.0)
    assert (prefill.after_gemm, prefill.after_copy_to_host, prefill.after_compaction) == (1, 1, 0)
    assert (decode.after_gemm, decode.after_copy_to_host) == (1, 0)


def test_a_gap_in_which_a_sync_returns_is_its_idle_time() -> None:
    prefill, decode = sync_loops(TWO_STAGES, TWO_STAGES_RUN)
    # One returns at 380, in the gap 350…510: prefill's until 400. The other at 820, after the last
    # op: 800…900, of which decode's until 850.
    assert (prefill.drained_ns, decode.drained_ns) == (50, 110 + 50)


def test_molmoe_decodes_with_a_sync_and_a_compaction_for_every_expert(h200: Path) -> None:
    trace = read_trace(h200 / "molmoe_1crop_user_scope.json.gz")
    (run,) = lay_out(trace).runs
    loops = {loop.stage: loop for loop in sync_loops(trace, run)}
    decode = loops["decode"]
    assert decode.run_call_count == 7211
    assert (decode.call, decode.call_count) == ("cudaStreamSynchronize", 5760)
    assert decode.forwards == 4
    # 16 layers of 64 experts make 1,024 a step; 4 × 1,024 of the 4,668 compactions are theirs.
    assert decode.after_compaction >= 4 * 16 * 64
    assert decode.after_copy_to_host == decode.syncs
    # Most experts get no token: few syncs see a product.
    assert decode.after_gemm < decode.syncs / 5
