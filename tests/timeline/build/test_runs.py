"""From a trace to its runs: what belongs where, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.timeline.building import TraceBuilder
from trace_timing.errors import AttributionError
from trace_timing.timeline.build.runs import TraceTimeline, lay_out
from trace_timing.timeline.naming.stage_names import StageMap, read_stage_map
from trace_timing.trace.events import Trace
from trace_timing.trace.files.reading import open_trace


def stages_of_ops(timeline: TraceTimeline) -> list[str]:
    """The stage of each op of the first run, by start."""
    run = timeline.runs[0]
    return [run.keys[k].stage for k in run.ops.key]


def test_an_op_belongs_to_the_innermost_range_open_when_it_was_launched() -> None:
    timeline = lay_out(
        TraceBuilder()
        .range("generate", 0, 100)
        .range("prefill", 0, 50)
        .range("vision", 10, 30)
        .range("vision_encoder", 10, 20)
        .op(60, 61, launch=5)
        .op(61, 62, launch=10)
        .op(62, 63, launch=20)
        .op(63, 64, launch=30)
        .op(64, 65, launch=50)
        .trace()
    )
    assert stages_of_ops(timeline) == ["prefill", "vision_encoder", "vision", "prefill", "other"]


def test_of_ranges_that_begin_together_the_shorter_is_the_inner_one() -> None:
    builder = TraceBuilder().range("generate", 0, 100).range("vision", 10, 20)
    builder.range("prefill", 10, 50).op(60, 61, launch=12).op(61, 62, launch=22)
    assert stages_of_ops(lay_out(builder.trace())) == ["vision", "prefill"]


def test_an_op_of_a_thread_without_ranges_takes_the_generating_thread_s_stage() -> None:
    builder = TraceBuilder().range("generate", 0, 100).range("prefill", 0, 50)
    timeline = lay_out(builder.op(60, 61, launch=5, thread=3).trace())
    assert stages_of_ops(timeline) == ["prefill"]
    assert timeline.borrowed_ops == 1


def test_what_has_no_launch_or_lies_outside_generate_is_unattributed_with_its_reason() -> None:
    builder = TraceBuilder().range("generate", 10, 100).range("prefill", 10, 50)
    timeline = lay_out(builder.op(20, 21).op(6, 7, launch=5).op(30, 31, launch=20).trace())
    assert timeline.unattributed == {"launch_missing": 1, "outside_generate": 1}
    assert stages_of_ops(timeline) == ["unattributed", "unattributed", "prefill"]


def test_each_outermost_generate_is_a_run_of_its_own() -> None:
    builder = TraceBuilder()
    for start in (0, 100, 200):
        builder.range("generate", start, start + 50).range("generate", start + 5, start + 45)
        builder.range("prefill", start + 10, start + 40)
        builder.op(start + 20, start + 30, launch=start + 15)
    timeline = lay_out(builder.op(80, 90, launch=70).trace())
    assert [len(run.ops) for run in timeline.runs] == [1, 1, 1]
    assert [run.window_start_ns for run in timeline.runs] == [0, 100, 200]
    assert len(timeline.stray) == 1


def test_without_generate_the_window_is_first_to_last_of_ranges_and_ops() -> None:
    builder = TraceBuilder().range("vision", 10, 20).range("prefill", 30, 50)
    timeline = lay_out(builder.op(5, 8, launch=1).op(55, 70, launch=40).trace())
    (run,) = timeline.runs
    assert (run.window_start_ns, run.window_end_ns) == (5, 70)
    assert stages_of_ops(timeline) == ["other", "prefill"]


def test_no_stage_range_gives_totals_and_no_invented_stage() -> None:
    timeline = lay_out(TraceBuilder().range("mine", 0, 9).op(5, 8, launch=1).trace())
    assert timeline.unattributed == {"no_stage_ranges": 1}
    assert timeline.unclaimed_ranges == ("mine",)
    assert {timeline.runs[0].keys[k].stage for k in timeline.runs[0].tiles.key} == {"unattributed"}


def test_without_a_device_timeline_the_host_s_ranges_are_tiled() -> None:
    builder = TraceBuilder().range("generate", 0, 100).range("prefill", 10, 60)
    (run,) = lay_out(builder.range("vision", 20, 30).trace()).runs
    lengths = {}
    for start, end, key in zip(run.tiles.start_ns, run.tiles.end_ns, run.tiles.key, strict=True):
        stage = run.keys[key].stage
        lengths[stage] = lengths.get(stage, 0) + int(end - start)
    assert run.clock == "host"
    assert lengths == {"other": 50, "prefill": 40, "vision": 10}


def test_ranges_that_cross_are_refused_with_their_names() -> None:
    builder = TraceBuilder().range("vision", 0, 20).range("prefill", 10, 30)
    with pytest.raises(AttributionError, match=r"vision and prefill .* cross"):
        lay_out(builder.trace())


def test_other_people_s_names_are_mapped_and_numbered_by_order(tmp_path: Path) -> None:
    path = tmp_path / "stages.toml"
    path.write_text('[stages]\nprefill = "first"\ndecode = ["next", "again"]\n')
    builder = TraceBuilder().range("generate", 0, 90).range("first", 0, 20)
    builder.range("next", 20, 40).range("again", 40, 60)
    timeline = lay_out(builder.trace(), read_stage_map(path))
    keys = [timeline.keys[r.key] for r in timeline.runs[0].ranges if r.key is not None]
    assert [(k.stage, k.step) for k in keys] == [("prefill", None), ("decode", 1), ("decode", 2)]


def test_a_real_trace_gives_the_figures_counted_by_hand(h200: Path) -> None:
    timeline = lay_out(open_trace(h200 / "llava_llama1b_user_scope.json.gz"))
    (run,) = timeline.runs
    ops, length = {}, run.ops.end_ns - run.ops.start_ns
    for key, ns in zip(run.ops.key, length, strict=True):
        count, total = ops.get(run.keys[key], (0, 0))
        ops[run.keys[key]] = (count + 1, total + int(ns))
    named = {k.stage if k.step is None else f"{k.stage}[{k.step}]": v for k, v in ops.items()}
    assert named["prefill"] == (698, 4_852_043)
    assert named["vision"] == (356, 1_852_260)
    assert named["decode[1]"] == (696, 1_905_981)
    assert named["other"] == (236, 400_745)
    assert len(run.ops) == 8_946


@pytest.fixture
def unnumbered(tmp_path: Path) -> StageMap:
    """A map in which the names of steps carry no number."""
    path = tmp_path / "stages.toml"
    path.write_text('[stages]\ngenerate = "generate"\ndecode = "decode"\n')
    return read_stage_map(path)


def labels(timeline: TraceTimeline) -> list[list[str]]:
    """The ranges of each run."""
    return [
        [run.keys[r.key].label for r in run.ranges if r.key is not None] for run in timeline.runs
    ]


def two_calls_at_once(*step_names: str) -> Trace:
    """Threads 0 and 1 generate at the same time; each step of either launches one op."""
    trace = TraceBuilder().range("generate", 0, 100, thread=0).range("generate", 5, 95, thread=1)
    for number, name in enumerate(step_names):
        for thread in (0, 1):
            begin = 10 + 40 * number + 10 * thread
            trace.range(name, begin, begin + 8, thread=thread)
            trace.op(begin + 1, begin + 2, launch=begin, thread=thread)
    return trace.trace()


def test_calls_at_once_count_their_own_steps(unnumbered: StageMap) -> None:
    by_order = lay_out(two_calls_at_once("decode", "decode"), unnumbered)
    by_name = lay_out(two_calls_at_once("decode[1]", "decode[2]"))
    assert labels(by_order) == labels(by_name) == [["decode[1]", "decode[2]"]] * 2


def test_calls_at_once_have_the_ranges_of_their_own_thread() -> None:
    timeline = lay_out(two_calls_at_once("decode[1]", "decode[2]"))
    assert [{r.thread for r in run.ranges} for run in timeline.runs] == [{0}, {1}]
    assert [[run.keys[k].step for k in run.ops.key] for run in timeline.runs] == [[1, 2], [1, 2]]
    assert not timeline.outside


def test_steps_of_a_thread_without_generate_count_in_the_call_that_runs(
    unnumbered: StageMap,
) -> None:
    trace = TraceBuilder().range("generate", 0, 30).range("generate", 40, 80)
    for begin in (10, 20, 50):
        trace.range("decode", begin, begin + 5, thread=3)
    timeline = lay_out(trace.trace(), unnumbered)
    assert labels(timeline) == [["decode[1]", "decode[2]"], ["decode[1]"]]
