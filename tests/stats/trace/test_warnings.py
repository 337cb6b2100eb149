"""Each warning about a trace is given where it is due, with its count, and not elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.paths import SAMPLE_TRACES
from tests.timeline.building import TraceBuilder
from trace_timing.api.analysis.analyze import analyze
from trace_timing.records.findings import FigureWarning, IntegrityResult
from trace_timing.stats.trace.unread import clock_host
from trace_timing.stats.trace.warnings import integrity_warnings, run_warnings, trace_warnings
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.events import Trace
from trace_timing.trace.integrity.counts import check_integrity


def by_code(warnings: Iterable[FigureWarning]) -> dict[str, FigureWarning]:
    listed = list(warnings)
    found = {warning.code: warning for warning in listed}
    assert len(found) == len(listed), "no code twice"
    return found


#: A name that some kind of op has, so that nothing is said of it.
GEMM = "nvjet_a"


def of_trace(trace: Trace) -> dict[str, FigureWarning]:
    return by_code(trace_warnings(trace, lay_out(trace)))


def call(start: int, *, op_end: int) -> TraceBuilder:
    """A generate() of 100 ns with one op that ends at `op_end` after its begin."""
    return add_call(TraceBuilder(), start, op_end=op_end)


def add_call(built: TraceBuilder, start: int, *, op_end: int) -> TraceBuilder:
    built.range("generate", start, start + 100).range("prefill", start + 10, start + 90)
    return built.op(start + 20, start + op_end, launch=start + 15, name=GEMM)


def test_a_sound_trace_needs_no_warning() -> None:
    assert of_trace(add_call(call(0, op_end=60), 100, op_end=60).trace()) == {}


def test_a_run_that_begins_while_ops_of_the_one_before_still_run_is_named() -> None:
    built = add_call(add_call(call(0, op_end=60), 200, op_end=120), 310, op_end=40)
    found = of_trace(built.trace())
    assert set(found) == {"overlapping_runs"}
    assert found["overlapping_runs"].evidence == "1 of 3 runs"


def test_a_run_that_begins_when_the_last_op_ends_does_not_overlap() -> None:
    assert of_trace(add_call(call(0, op_end=110), 110, op_end=60).trace()) == {}


def test_a_long_op_overlaps_every_run_that_begins_under_it() -> None:
    built = call(0, op_end=350)
    for start in (110, 220, 400):
        add_call(built, start, op_end=60)
    assert of_trace(built.trace())["overlapping_runs"].evidence == "2 of 4 runs"


def test_ops_without_a_launch_and_ops_outside_generate_are_counted_apart() -> None:
    built = (
        call(100, op_end=60)
        .op(170, 175, name=GEMM)
        .op(180, 185, name=GEMM)
        .op(50, 60, launch=45, name=GEMM)
    )
    found = of_trace(built.trace())
    assert set(found) == {"launch_missing", "outside_generate"}
    assert found["launch_missing"].evidence == "2 ops: launch_missing"
    assert found["outside_generate"].evidence == "1 ops: outside_generate"
    assert {warning.stage for warning in found.values()} == {"unattributed"}
    assert "runtime calls" in found["launch_missing"].remedy
    assert "one generate() a session" in found["outside_generate"].remedy


def test_ops_of_a_thread_without_ranges_are_counted() -> None:
    found = of_trace(call(0, op_end=60).op(70, 75, launch=65, thread=3, name=GEMM).trace())
    assert set(found) == {"launched_by_other_thread"}
    assert found["launched_by_other_thread"].evidence == "1 ops"


def test_without_any_stage_range_the_names_that_were_seen_are_listed() -> None:
    found = of_trace(TraceBuilder().range("mine", 0, 50).op(5, 9, launch=1, name=GEMM).trace())
    assert set(found) == {"no_stage_ranges"}
    assert found["no_stage_ranges"].evidence == "range names seen: mine"
    assert "--stages" in found["no_stage_ranges"].remedy
    bare = of_trace(TraceBuilder().op(5, 9, launch=1, name=GEMM).trace())
    assert bare["no_stage_ranges"].evidence == "range names seen: none"


def test_a_run_without_a_device_timeline_says_so_and_one_with_it_does_not() -> None:
    trace = TraceBuilder().range("generate", 0, 100).range("prefill", 0, 90).trace()
    no_device = clock_host(trace, check_integrity(trace))
    (run,) = lay_out(trace).runs
    assert set(by_code(run_warnings(run, no_device))) == {"clock_host"}
    (timed,) = lay_out(call(0, op_end=60).trace()).runs
    assert list(run_warnings(timed, no_device)) == []


@pytest.mark.parametrize(("level", "count"), [("PASS", 0), ("WARN", 1), ("FAIL", 1)])
def test_what_integrity_found_is_passed_on_unless_it_passed(level: str, count: int) -> None:
    result = IntegrityResult(
        code="lost_ops", level=level, message="m", evidence="e", remedy="r", stage="decode"
    )  # fmt: skip
    found = list(integrity_warnings([result]))
    assert len(found) == count
    assert all((w.code, w.evidence, w.stage) == ("lost_ops", "e", "decode") for w in found)


def test_one_broken_check_of_a_run_or_of_a_trace_makes_the_exit_code_1() -> None:
    analysis = analyze(SAMPLE_TRACES)
    assert (analysis.checks_hold, analysis.exit_code) == (True, 0)
    for part in ("run_summaries", "traces"):
        first, *others = getattr(analysis, part)
        wrong = replace(first.checks[0], holds=False)
        broken = replace(first, checks=(*first.checks[1:], wrong))
        changed = replace(analysis, **{part: (*others, broken)})
        assert (changed.checks_hold, changed.exit_code) == (False, 1)
