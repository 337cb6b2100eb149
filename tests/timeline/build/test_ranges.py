"""Which ranges count, and what becomes of those that cross."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.timeline.building import TraceBuilder
from trace_timing.errors import AttributionError
from trace_timing.timeline.build.ranges import busiest_thread, find_ranges
from trace_timing.timeline.build.runs import TraceTimeline, lay_out
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, parse_stage_map
from trace_timing.trace.events import Damage, Trace


def windows(timeline: TraceTimeline) -> list[dict[str, int]]:
    """Window of each key of each run."""
    found = []
    for run in timeline.runs:
        rows: dict[str, int] = {}
        tiles = run.tiles
        for key, length in zip(tiles.key, tiles.end_ns - tiles.start_ns, strict=True):
            stage = run.keys[key]
            name = stage.stage if stage.step is None else f"{stage.stage}[{stage.step}]"
            rows[name] = rows.get(name, 0) + int(length)
        found.append(rows)
    return found


def test_of_two_steps_that_cross_the_earlier_ends_where_the_later_begins() -> None:
    trace = TraceBuilder().range("generate", 0, 100).range("decode[1]", 10, 40)
    timeline = lay_out(trace.range("decode[2]", 35, 70).trace())
    assert windows(timeline) == [{"other": 40, "decode[1]": 25, "decode[2]": 35}]
    assert timeline.crossings == ("decode[1] and decode[2] by 5 ns",)


def test_steps_that_cross_within_another_range_stay_within_it() -> None:
    trace = TraceBuilder().range("prefill", 0, 100).range("decode[1]", 10, 40)
    timeline = lay_out(trace.range("decode[2]", 35, 70).range("decode[3]", 60, 90).trace())
    assert windows(timeline) == [{"prefill": 20, "decode[1]": 25, "decode[2]": 25, "decode[3]": 30}]
    assert len(timeline.crossings) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [("prefill", "decode[1]"), ("generate", "decode[1]"), ("decode[1]", "generate")],
)
def test_ranges_of_different_stages_that_cross_are_refused(first: str, second: str) -> None:
    trace = TraceBuilder().range(first, 0, 50).range(second, 30, 80).trace()
    with pytest.raises(AttributionError, match="of one thread cross"):
        lay_out(trace)


def test_ranges_that_nobody_mapped_may_cross_all() -> None:
    trace = TraceBuilder().range("generate", 0, 100).range("prefill", 10, 40)
    timeline = lay_out(trace.range("theirs", 20, 60).range("ours", 30, 120).trace())
    assert windows(timeline) == [{"other": 70, "prefill": 30}]
    assert timeline.crossings == ()


def test_a_generate_within_another_counts_for_nothing_and_may_cross() -> None:
    trace = TraceBuilder().range("generate", 0, 100).range("step", 10, 40)
    trace.range("generate", 30, 60).range("step", 50, 80)
    timeline = lay_out(trace.trace(), parse_stage_map('[stages]\ndecode = "step"\n', "a"))
    assert windows(timeline) == [{"other": 40, "decode[1]": 30, "decode[2]": 30}]


def bad(trace: Trace, name: str) -> Trace:
    damage = Damage(ranges={name: "has no dur"})
    return replace(trace, info=replace(trace.info, damage=damage))


def test_a_range_without_times_matters_only_where_a_stage_claims_it() -> None:
    trace = TraceBuilder().range("prefill", 0, 10).trace()
    assert len(find_ranges(bad(trace, "theirs"), DEFAULT_STAGES).stages) == 1
    with pytest.raises(AttributionError, match="no usable times") as caught:
        find_ranges(bad(trace, "decode[2]"), DEFAULT_STAGES)
    assert "'decode[2]' has no dur" in caught.value.why


def test_generate_ranges_alone_are_runs_of_their_own() -> None:
    trace = TraceBuilder().range("generate", 0, 100).op(30, 120, launch=10)
    trace.range("generate", 200, 300).op(320, 330, launch=290).op(400, 410, launch=350)
    timeline = lay_out(trace.trace())
    assert windows(timeline) == [{"other": 120}, {"other": 130}]
    assert timeline.unattributed == {"outside_generate": 1}
    assert len(timeline.stray) == 1
    assert (timeline.has_ranges, timeline.has_stage_ranges) == (True, False)


def test_without_generate_the_window_holds_unattributed_ops_too() -> None:
    trace = TraceBuilder().op(5, 8).range("prefill", 20, 50).op(30, 40, launch=25).op(90, 99)
    timeline = lay_out(trace.trace())
    (run,) = timeline.runs
    assert (run.window_start_ns, run.window_end_ns) == (5, 99)
    assert windows(timeline) == [{"unattributed": 12, "other": 52, "prefill": 30}]


def test_of_threads_with_as_many_ranges_the_first_generates() -> None:
    for first, second in ((3, 5), (5, 3)):
        trace = TraceBuilder().range("prefill", 0, 10, thread=first)
        trace.range("decode[1]", 20, 30, thread=second).op(40, 50, launch=5, thread=7)
        trace = trace.trace()
        found = find_ranges(trace, DEFAULT_STAGES)
        assert busiest_thread(found.stages) == first
        timeline = lay_out(trace)
        assert timeline.hosts.main_thread == timeline.runs[0].generating_thread == first
