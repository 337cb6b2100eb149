"""The built-in stage maps: what each project's range names say, and which map a trace is read with.

The names are those of the versions that the maps cite; the traces are rebuilt from the names.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.timeline.building import TraceBuilder
from trace_timing.errors import UsageError
from trace_timing.timeline.build.runs import TraceTimeline, lay_out
from trace_timing.timeline.naming.builtin_maps import BUILT_IN, auto, built_in, stage_map_of
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, StageMap, parse_stage_map
from trace_timing.timeline.rows.tables import RunKey, stage_columns, step_columns
from trace_timing.trace.events import Trace
from trace_timing.trace.files.reading import open_trace

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAPS = Path(sys.modules[StageMap.__module__].__file__ or "").parent / "maps"
BATCH = (
    "batch_size",
    "context_requests",
    "context_tokens",
    "generation_requests",
    "generation_tokens",
)


def said(map_name: str, name: str) -> tuple[Any, ...] | None:
    """Stage and the five sizes, as the map reads a range name."""
    found = built_in(map_name).resolve(name)
    if found is None:
        return None
    return (found.stage, *(getattr(found.batch, field) if found.batch else None for field in BATCH))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("execute_context_2(300)_generation_0(0)", ("prefill", 2, 2, 300, 0, 0)),
        ("execute_context_0(0)_generation_32(32)", ("decode", 32, 0, 0, 32, 32)),
        ("execute_context_1(64)_generation_10(13)", ("mixed", 11, 1, 64, 10, 13)),
        ("execute_context_0(0)_generation_0(0)", None),
        (
            "execute_32_context_0(sq0sk0sqsq0sqsk0)_generation_32(sq32sk55086sqsq32sqsk55086)",
            ("decode", 32, 0, 0, 32, 32),
        ),
        (
            "execute_12_context_1(sq12sk12sqsq144sqsk144)_generation_0(sq0sk0sqsq0sqsk0)",
            ("prefill", 1, 1, 12, 0, 0),
        ),
        (
            "execute_13_context_1(sq12sk12sqsq144sqsk144)_generation_1(sq1sk20sqsq1sqsk20)",
            ("mixed", 2, 1, 12, 1, 1),
        ),
        ("execute_new_3_cached_0", ("prefill", 3, 3, None, 0, None)),
        ("execute_new_1_cached_7", ("mixed", 8, 1, None, 7, None)),
        ("execute_new_0_cached_7", ("decode", 7, 0, None, 7, None)),
        ("gpu_model_runner: sample", ("sampling", None, None, None, None, None)),
        ("gpu_model_runner: draft", ("draft", None, None, None, None, None)),
        ("gpu_model_runner: forward", None),
    ],
)
def test_vllm_s_names(name: str, expected: tuple[Any, ...] | None) -> None:
    assert said("vllm", name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("step[EXTEND bs=2 toks=4096]", ("prefill", 2, 2, 4096, None, None)),
        (
            "step[EXTEND bs=2 toks=12 c_sq=12 c_sqsq=80 c_sqsk=120 c_sk=20 forward_id=7]",
            ("prefill", 2, 2, 12, None, None),
        ),
        ("step[DECODE bs=16]", ("decode", 16, None, None, 16, None)),
        (
            "step[DECODE bs=16 g_sq=16 g_sqsq=16 g_sqsk=99 g_sk=99]",
            ("decode", 16, None, None, 16, 16),
        ),
        ("step[TARGET_VERIFY bs=4]", ("decode", 4, None, None, 4, None)),
        (
            "step[VERIFY bs=4 g_sq=28 g_sqsq=196 g_sqsk=9 g_sk=9]",
            ("decode", 4, None, None, 4, 28),
        ),
        ("step[MIXED bs=3]", ("mixed", 3, None, None, None, None)),
        (
            "step[MIXED bs=3 c=1 g=2 c_sq=5 c_sk=8 c_sqsq=25 c_sqsk=40 "
            "g_sq=2 g_sk=24 g_sqsq=2 g_sqsk=24]",
            ("mixed", 3, 1, 5, 2, 2),
        ),
        ("step[DRAFT bs=4]", ("draft", None, None, None, None, None)),
        ("step[DRAFT_EXTEND_V2 bs=4]", ("draft", None, None, None, None, None)),
        ("step[DRAFT_LOOP raw_bs=3 bs=4 topk=1]", ("draft", None, None, None, None, None)),
        ("sglang.vlm.mm_embedding", ("vision", None, None, None, None, None)),
        ("step[IDLE bs=0]", None),
        ("scheduler.run_batch", None),
    ],
)
def test_sglang_s_names(name: str, expected: tuple[Any, ...] | None) -> None:
    assert said("sglang", name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "[Executor] _forward_step 7: 1 ctx reqs, 128 ctx tokens, 0 gen reqs",
            ("prefill", 1, 1, 128, 0, None),
        ),
        (
            "[Executor] _forward_step 8: 0 ctx reqs, 0 ctx tokens, 32 gen reqs",
            ("decode", 32, 0, 0, 32, None),
        ),
        ("[Executor] _forward_step 9: 2 ctx reqs, 30 gen reqs", ("mixed", 32, 2, None, 30, None)),
        ("[Executor] _forward_step: 0 ctx reqs, 3 gen reqs", ("decode", 3, 0, None, 3, None)),
        ("_sample_async", ("sampling", None, None, None, None, None)),
        ("_handle_responses", None),
    ],
)
def test_tensorrt_llm_s_names(name: str, expected: tuple[Any, ...] | None) -> None:
    assert said("trtllm", name) == expected


def test_transformers_names_are_those_of_captures() -> None:
    for name in ("generate", "prefill", "decode[3]", "sampling[0]", "vision_encoder", "mine"):
        assert built_in("transformers").resolve(name) == DEFAULT_STAGES.resolve(name)


@pytest.mark.parametrize("name", ["vllm", "sglang", "trtllm"])
def test_every_map_cites_where_each_name_stands(name: str) -> None:
    content = tomllib.loads((MAPS / f"{name}.toml").read_text(encoding="utf-8"))
    assert content["project"]
    for cited in content["names"]:
        assert cited["name"]
        assert ".py" in cited["file"]
        assert any(c.isdigit() for c in cited["versions"])


def rows(timeline: TraceTimeline, trace: Trace, *names: str) -> list[tuple[Any, ...]]:
    (run,) = timeline.runs
    table = step_columns(trace, timeline, run, RunKey("s", 0, 0)).arrow()
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


def window_of(timeline: TraceTimeline, trace: Trace) -> dict[str, int]:
    (run,) = timeline.runs
    table: pa.Table = stage_columns(trace, timeline, run, RunKey("s", 0, 0)).arrow()
    return {row["stage"]: row["window_ns"] for row in table.to_pylist()}


def test_a_trace_of_vllm_gives_its_steps_as_counted_by_hand() -> None:
    # The host runs ahead: the prompts' op ends 20 ns into the next forward's range.
    builder = TraceBuilder()
    builder.range("execute_context_2(300)_generation_0(0)", 0, 100).op(20, 120, launch=10)
    builder.range("execute_context_0(0)_generation_2(2)", 100, 150)
    builder.graph(110, [(120, 130), (130, 145)])
    builder.range("execute_context_1(64)_generation_2(2)", 150, 230).op(165, 220, launch=160)
    builder.range("execute_context_0(0)_generation_3(3)", 230, 280).graph(240, [(245, 290)])
    trace = builder.range("gpu_model_runner: forward", 235, 275).trace()
    timeline = lay_out(trace, auto())
    assert (timeline.stage_map, timeline.serving, timeline.unattributed) == ("vllm", True, {})
    names = ("stage", "step", *BATCH, "window_ns", "busy_ns", "gpu_ops", "interval_ns")
    assert rows(timeline, trace, *names) == [
        ("prefill", 0, 2, 2, 300, 0, 0, 120, 100, 1, 100),
        ("decode", 0, 2, 0, 0, 2, 2, 30, 25, 2, 50),
        ("mixed", 0, 3, 1, 64, 2, 2, 80, 55, 1, 80),
        ("decode", 1, 3, 0, 0, 3, 3, 60, 45, 1, None),
    ]
    assert window_of(timeline, trace) == {"prefill": 120, "mixed": 80, "decode": 90}


def test_a_trace_of_sglang_keeps_the_draft_model_s_forwards_apart() -> None:
    # Up to 0.5.19 the draft model's forwards have the names of the target's; a draft range tells.
    builder = TraceBuilder().range("step[EXTEND bs=2 toks=300]", 0, 100)
    builder.range("sglang.vlm.mm_embedding", 5, 40).op(12, 30, launch=10).op(55, 90, launch=50)
    builder.range("draft_extend", 100, 130).range("step[EXTEND bs=2 toks=300]", 105, 125)
    builder.op(112, 120, launch=110)
    builder.range("draft", 130, 150).range("step[DECODE bs=2]", 135, 145).op(138, 144, launch=137)
    builder.range("step[TARGET_VERIFY bs=2]", 150, 200).op(160, 190, launch=155)
    builder.range("step[MIXED bs=3]", 200, 260).op(210, 250, launch=205)
    builder.range("step[IDLE bs=0]", 260, 270)
    builder.range("step[DECODE bs=3 g_sq=3 g_sqsq=3 g_sqsk=30 g_sk=30]", 270, 300)
    trace = builder.op(275, 300, launch=272).trace()
    timeline = lay_out(trace, auto())
    assert timeline.stage_map == "sglang"
    names = ("stage", "step", *BATCH, "window_ns", "busy_ns", "interval_ns")
    assert rows(timeline, trace, *names) == [
        ("prefill", 0, 2, 2, 300, None, None, 65, 35, 150),
        ("decode", 0, 2, None, None, 2, None, 50, 30, 50),
        ("mixed", 0, 3, None, None, None, None, 60, 40, 70),
        ("decode", 1, 3, None, None, 3, 3, 30, 25, None),
    ]
    assert window_of(timeline, trace) == {
        "vision": 35,
        "prefill": 65,
        "mixed": 60,
        "decode": 80,
        "draft": 50,
        "other": 10,
    }


def test_a_trace_of_tensorrt_llm_numbers_steps_by_begin_and_not_by_iteration() -> None:
    builder = TraceBuilder()
    builder.range("[Executor] _forward_step 41: 1 ctx reqs, 128 ctx tokens, 0 gen reqs", 0, 50)
    builder.op(10, 45, launch=5).range("_sample_async", 50, 60).op(52, 58, launch=51)
    builder.range("[Executor] _forward_step 42: 0 ctx reqs, 0 ctx tokens, 1 gen reqs", 60, 80)
    builder.graph(62, [(65, 78)]).range("_sample_async", 80, 90)
    builder.range("[Executor] _forward_step 43: 1 ctx reqs, 8 ctx tokens, 1 gen reqs", 90, 120)
    trace = builder.op(95, 118, launch=92).trace()
    timeline = lay_out(trace, auto())
    assert timeline.stage_map == "trtllm"
    assert rows(timeline, trace, "stage", "step", *BATCH, "window_ns", "busy_ns") == [
        ("prefill", 0, 1, 1, 128, 0, None, 50, 35),
        ("decode", 0, 1, 0, 0, 1, None, 20, 13),
        ("mixed", 0, 2, 1, 8, 1, None, 30, 23),
    ]
    assert window_of(timeline, trace)["sampling"] == 20


def test_the_public_trace_of_vllm_has_one_step_with_its_batch(peers: Path) -> None:
    trace = open_trace(peers / "tracelens_vllm_decode_graph.json.gz")
    timeline = lay_out(trace, auto())
    assert timeline.stage_map == "vllm"
    assert timeline.unattributed == {}
    # 425 kernels and 9 copies, nearly all of them a graph's.
    assert rows(timeline, trace, "stage", "step", "batch_size", "context_requests", "gpu_ops") == [
        ("decode", 0, 32, 0, 434)
    ]


def test_auto_reads_a_capture_as_without_it() -> None:
    builder = TraceBuilder().range("generate", 0, 90).range("prefill", 0, 20)
    builder.range("decode[1]", 20, 40).range("sampling[0]", 18, 20).op(5, 15, launch=2)
    trace = builder.range("execute_context_0(0)_generation_1(1)", 41, 80).op(50, 60, launch=45)
    by_auto, plain = lay_out(trace.trace(), auto()), lay_out(trace.trace())
    assert (by_auto.stage_map, by_auto.serving) == ("", False)
    assert by_auto.keys == plain.keys
    assert by_auto.unclaimed_ranges == ("execute_context_0(0)_generation_1(1)",)


def test_auto_reads_names_that_no_map_knows_as_without_it() -> None:
    trace = TraceBuilder().range("my_step", 0, 10).op(5, 8, launch=1).trace()
    timeline = lay_out(trace, auto())
    assert not timeline.has_stage_ranges
    assert timeline.unclaimed_ranges == ("my_step",)


def test_a_lone_draft_range_is_no_sign_of_a_capture() -> None:
    builder = TraceBuilder().range("draft", 0, 10).range("step[DECODE bs=4]", 10, 20)
    assert lay_out(builder.trace(), auto()).stage_map == "sglang"


def test_a_server_s_map_numbers_a_capture_as_captures_are() -> None:
    builder = TraceBuilder().range("generate", 0, 90).range("prefill", 0, 20)
    trace = builder.range("decode[1]", 20, 40).trace()
    timeline = lay_out(trace, built_in("trtllm"))
    assert not timeline.serving
    assert [k.step for k in timeline.keys if k.stage == "prefill"] in ([], [None])


def test_vllm_s_older_names_leave_a_warning_about_chunked_prompts() -> None:
    builder = TraceBuilder().range("execute_new_0_cached_4", 0, 10).op(2, 8, launch=1)
    (reason, name), *more = lay_out(builder.trace(), auto()).cautions.items()
    assert not more
    assert name == "execute_new_0_cached_4"
    assert "chunks" in reason
    sure = TraceBuilder().range("execute_new_2_cached_0", 0, 10)
    assert lay_out(sure.trace(), auto()).cautions == {}


def test_a_file_can_say_that_its_names_are_a_server_s() -> None:
    text = 'serving = true\n[stages]\nprefill = "fill (?P<batch>\\\\d+)"\ndecode = "next"\n'
    builder = TraceBuilder().range("fill 3", 0, 10).range("next", 10, 20).range("fill 5", 20, 30)
    trace = builder.trace()
    timeline = lay_out(trace, parse_stage_map(text, "stages.toml"))
    assert rows(timeline, trace, "stage", "step", "batch_size") == [
        ("prefill", 0, 3),
        ("decode", 0, None),
        ("prefill", 1, 5),
    ]


def test_a_group_of_another_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"'btach' that means nothing.*batch, context_requests"):
        parse_stage_map('[stages]\ndecode = "d(?P<btach>.*)"\n', "stages.toml")


def test_a_group_that_matches_no_number_is_refused_with_the_name() -> None:
    found = parse_stage_map('[stages]\ndecode = "d(?P<step>.*)"\n', "stages.toml")
    with pytest.raises(UsageError, match=r"group step .* 'dx' it matched 'x'"):
        found.resolve("dx")


def test_a_built_in_name_is_the_built_in_map_whatever_files_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vllm").write_text('[stages]\ndecode = "d"\n')
    assert stage_map_of("vllm") == built_in("vllm")
    assert stage_map_of("./vllm").resolve("d") is not None


def test_an_unknown_name_is_answered_with_the_nearest_and_all_others() -> None:
    with pytest.raises(UsageError, match="did you mean sglang") as error:
        stage_map_of("sg-lang")
    assert all(name in error.value.remedy for name in (*BUILT_IN, "auto"))
