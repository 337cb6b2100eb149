"""HTA on our integer-ns events says what we say; where it does not, the test says why.

Three differences are HTA's definitions, not errors of either side:
- its idle time lies between consecutive ops of one stream, so what precedes the first op and
  follows the last is in ours alone, and ops that overlap count negative in it;
- its launches are cudaLaunchKernel(ExC), cudaMemcpyAsync and cudaMemsetAsync: cuLaunchKernel(Ex),
  with which cuBLAS and Triton launch, is missing;
- its queue is one per stream.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN
from trace_timing.errors import UsageError
from trace_timing.stats.trace.hta_bridge import HtaFigures, hta_figures
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.build.intervals import union
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.events import Trace
from trace_timing.trace.kineto.reader import read_trace

Case = tuple[Trace, RunTimeline, HtaFigures]


@pytest.fixture(
    scope="module",
    params=["llava_llama1b_user_scope", "llava_olmoe_cpu_cuda", "molmoe_1crop_user_scope"],
)
def case(request: pytest.FixtureRequest, h200: Path) -> Case:
    pytest.importorskip("hta")
    trace = read_trace(h200 / f"{request.param}.json.gz")
    (run,) = lay_out(trace).runs
    return trace, run, hta_figures(trace, run)


def test_idle_time_agrees_to_the_ns_on_the_span_of_the_ops(case: Case) -> None:
    _, run, hta = case
    ops = run.ops
    covered = union(ops.start_ns, ops.end_ns)
    overlap = int((ops.end_ns - ops.start_ns).sum() - (covered.end_ns - covered.start_ns).sum())
    span = int(ops.end_ns.max() - ops.start_ns.min())
    ours = span - int((covered.end_ns - covered.start_ns).sum())
    assert sum(hta.idle_ns.values()) == ours - overlap
    # The share, as either would print it, differs by less than a thousandth.
    assert abs(sum(hta.idle_ns.values()) - ours) < 0.001 * span


def test_kernels_agree_to_the_ns(case: Case) -> None:
    trace, run, hta = case
    ours: Counter[str] = Counter()
    durations = run.ops.end_ns - run.ops.start_ns
    for name, dur in zip(trace.events.name[run.ops.row], durations, strict=True):
        ours[trace.names[name]] += int(dur)
    top = dict(ours.most_common(10))
    assert {name: hta.kernels_ns.get(name) for name in top} == top
    assert sum(hta.kernels_ns.values()) == sum(ours.values())


def test_launches_agree_but_for_the_driver_calls_that_hta_does_not_know(case: Case) -> None:
    trace, run, hta = case
    launched = Counter(trace.names[n] for n in trace.events.name[run.ops.launch_row])
    driver = sum(count for name, count in launched.items() if name.startswith("cuLaunch"))
    assert driver > 0
    assert hta.launches == len(run.ops) - driver


def test_the_greatest_queue_length_agrees_on_a_single_stream(case: Case) -> None:
    _, run, hta = case
    assert hta.max_queue == {7: int(run.cells.depth.max())}


def test_gaps_inside_stages_and_between_them_are_the_runs(case: Case) -> None:
    """What HTA says of each stage and what lies between two stages sum to what it says of all."""
    trace, run, hta = case
    stage = stage_of_key(run)[run.ops.key]
    start, end = run.ops.start_ns, run.ops.end_ns
    between = int((start[1:] - end[:-1])[stage[1:] != stage[:-1]].sum())
    stages = [stages_of(run)[code] for code in np.unique(stage)]
    inside = sum(sum(hta_figures(trace, run, s).idle_ns.values()) for s in stages)
    assert inside + between == sum(hta.idle_ns.values())


def test_a_stage_of_a_hand_made_run_seen_by_hta() -> None:
    pytest.importorskip("hta")
    prefill = hta_figures(TWO_STAGES, TWO_STAGES_RUN, "prefill")
    assert prefill.kernels_ns == {"nvjet_a": 150, "Memcpy DtoH (Device -> Pinned)": 50}
    assert (prefill.launches, prefill.launch_delay_median_ns) == (2, (30 + 160) / 2)
    assert sum(prefill.idle_ns.values()) == 0
    assert prefill.max_queue == {7: 2}


def test_without_hta_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hta.common.trace", None)
    with pytest.raises(UsageError) as caught:
        hta_figures(TWO_STAGES, TWO_STAGES_RUN)
    assert "trace-timing[hta]" in caught.value.remedy
