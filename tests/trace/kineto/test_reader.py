"""Kineto files, whoever wrote them: read to the nanosecond, or refused with a reason."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trace.kineto_files import CALL, FLOW, KERNEL, META, RANGE, plain_reading, write
from trace_timing.errors import TraceError
from trace_timing.trace.events import GPU_OP_KINDS, NONE, Kind, Trace
from trace_timing.trace.kineto import inflating, reader
from trace_timing.trace.kineto.categories import KIND_OF_CATEGORY
from trace_timing.trace.kineto.reader import read_trace


def rows_of(trace: Trace) -> list[tuple[int, str, int, int]]:
    events = trace.events
    return list(
        zip(
            events.kind.tolist(),
            [trace.names[code] for code in events.name],
            events.start_ns.tolist(),
            events.dur_ns.tolist(),
            strict=True,
        )
    )


def read(tmp_path: Path, document: Any, **settings: bool) -> Trace:
    return read_trace(write(tmp_path / "trace.json", document), **settings)


# Counted by json.loads and Decimal over the same files.
@pytest.mark.parametrize(
    ("name", "gpu_ops", "gpu_ns", "events"),
    [
        ("h200/llava_llama1b_cpu_cuda", 8_946, 28_012_483, 19_406),
        ("h200/llava_llama1b_user_scope", 8_946, 27_991_957, 19_403),
        ("h200/molmoe_1crop_user_scope", 46_564, 82_286_870, 132_417),
        ("peers/hta_negative_queue_length", 7_747, 449_763_000, 42_031),
        ("peers/hta_ns_resolution", 6_095, 472_454_441, 21_494),
        ("peers/hta_rank_non_gpu", 0, 0, 43),
        ("peers/tracelens_mi210_gpu_only", 562, 5_343_422, 1_193),
        ("peers/tracelens_vllm_decode_graph", 434, 10_717_708, 455),
    ],
)
def test_real_traces_hold_the_known_ops_and_gpu_time(
    shared: Path, name: str, gpu_ops: int, gpu_ns: int, events: int
) -> None:
    trace = read_trace(shared / "traces" / f"{name}.json.gz")
    ops = trace.events.take(trace.events.rows(*GPU_OP_KINDS))
    assert (len(ops), int(ops.dur_ns.sum()), len(trace.events)) == (gpu_ops, gpu_ns, events)


@pytest.mark.parametrize(
    "name",
    ["h200/llava_llama1b_cpu_cuda", "peers/hta_ns_resolution", "peers/hta_negative_queue_length"],
)
def test_real_traces_read_as_decimal_digits_say(shared: Path, name: str) -> None:
    path = shared / "traces" / f"{name}.json.gz"
    trace = read_trace(path)
    rows, skipped = plain_reading(gzip.decompress(path.read_bytes()).decode())
    assert rows_of(trace) == [(KIND_OF_CATEGORY[cat], *rest) for cat, *rest in rows]
    assert trace.info.skipped == dict(skipped)


def test_an_event_keeps_what_joins_it_to_others(tmp_path: Path) -> None:
    trace = read(tmp_path, {"traceEvents": [RANGE, CALL, KERNEL]})
    events = trace.events
    assert events.kind.tolist() == [Kind.RANGE, Kind.CALL, Kind.KERNEL]
    assert events.correlation.tolist() == [NONE, 7, 7]
    assert events.device.tolist() == [NONE, NONE, 0]
    assert events.stream.tolist() == [NONE, NONE, 7]
    assert events.thread.tolist() == [0, 0, NONE]
    assert events.graph.tolist() == [NONE, NONE, 2]
    assert events.graph_node.tolist() == [NONE, NONE, 4]
    assert trace.threads == (("10", "11"),)


def test_the_header_is_read_before_and_after_the_events(tmp_path: Path) -> None:
    header = {
        "deviceProperties": [{"id": 1, "name": "H200", "totalGlobalMem": 5, "numSms": 132}],
        "cupti_version": 130001,
        "distributedInfo": {"rank": 3, "world_size": 8},
        "baseTimeNanoseconds": 1790857026000000000,
    }
    before = read(tmp_path, {**header, "traceEvents": [CALL]}).info
    after = read(tmp_path, {"traceEvents": [CALL], **header}).info
    assert before == after
    assert (before.rank, before.world_size, before.base_time_ns) == (3, 8, 1790857026000000000)
    assert before.devices[0].name == "H200"
    assert before.versions == {"cupti_version": 130001}


def test_a_bare_list_is_a_trace(tmp_path: Path) -> None:
    assert len(read(tmp_path, [CALL, KERNEL]).events) == 2
    assert len(read(tmp_path, []).events) == 0


def test_cpu_ops_are_counted_or_read_as_asked(tmp_path: Path) -> None:
    document = {"traceEvents": [{**RANGE, "cat": "cpu_op", "name": "aten::add"}, FLOW, META]}
    without = read(tmp_path, document)
    assert without.info.skipped == {"cpu_op": 1, "ph M": 1, "ph s": 1}
    assert not without.info.has_cpu_ops
    with_them = read(tmp_path, document, cpu_ops=True)
    assert with_them.names == ("aten::add",)
    assert with_them.info.has_cpu_ops


def test_events_that_kineto_does_not_write_today_are_counted(tmp_path: Path) -> None:
    document = [CALL, {**CALL, "cat": "new_thing"}, {**CALL, "ph": "i"}, KERNEL, FLOW, META]
    expected = {"new_thing": 1, "ph M": 1, "ph i": 1, "ph s": 1}
    assert read(tmp_path, document).info.skipped == expected
    odd = read(tmp_path, [*document, {**META, "ph": "a new phase"}, {**META, "ph": None}])
    assert odd.info.skipped == {**expected, "ph ": 1, "ph a new phase": 1}
    assert len(odd.events) == 2


def test_threads_are_told_apart_within_a_piece(tmp_path: Path) -> None:
    calls = [CALL, {**CALL, "tid": 12}, CALL, {**CALL, "pid": 9}]
    trace = read(tmp_path, calls)
    assert trace.events.thread.tolist() == [0, 1, 0, 2]
    assert trace.threads == (("10", "11"), ("10", "12"), ("9", "11"))


def test_sync_events_name_the_stream_and_record_they_wait_for(tmp_path: Path) -> None:
    args = {"device": 0, "stream": 4294967295, "correlation": 9, "wait_on_stream": 7}
    sync = {**KERNEL, "cat": "cuda_sync", "args": {**args, "wait_on_cuda_event_record_corr_id": 5}}
    events = read(tmp_path, [sync]).events
    assert events.wait_stream.tolist() == [7]
    assert events.wait_correlation.tolist() == [5]
    assert events.stream.tolist() == [NONE]  # CUPTI's 2³² − 1 is no stream


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("0x7f3a", 0x7F3A),
        ("7", 7),
        (7.0, 7),
        ("0xffffffffffffff00", -256),
        (2**63 + 1, -(2**63) + 1),
    ],
)
def test_streams_may_be_hex_text_or_fill_64_bits(
    tmp_path: Path, stream: object, expected: int
) -> None:
    op = {**KERNEL, "args": {"device": 0, "stream": stream, "correlation": "7", "bytes": "4096"}}
    events = read(tmp_path, [op]).events
    assert events.stream.tolist() == [expected]
    assert events.correlation.tolist() == [7]
    assert events.size_bytes.tolist() == [4096]


def test_ops_without_arguments_are_placed_by_their_track(tmp_path: Path) -> None:
    events = read(tmp_path, [{**KERNEL, "pid": 2, "tid": 9, "args": {}}, KERNEL]).events
    assert events.device.tolist() == [2, 0]
    assert events.stream.tolist() == [9, 7]


def test_words_as_process_and_thread_are_kept(tmp_path: Path) -> None:
    call = {**CALL, "pid": "Spans", "tid": "PyTorch Profiler"}
    assert read(tmp_path, [call]).threads == (("Spans", "PyTorch Profiler"),)


@pytest.mark.parametrize(
    ("ts", "ns"),
    [
        ("8796093022207.999", 8_796_093_022_207_999),  # the last ns below 2⁴³ µs: by float64
        ("8796093022208.001", 8_796_093_022_208_001),  # the first above: by digits
        ("1712195495506161.234", 1_712_195_495_506_161_234),
        ("1712195495506161.2", 1_712_195_495_506_161_200),
        ("1712195495506161", 1_712_195_495_506_161_000),
        ("1.712195495506161234e15", 1_712_195_495_506_161_234),
        ("-12.345", -12_345),
    ],
)
def test_timestamps_of_either_scale_are_exact(tmp_path: Path, ts: str, ns: int) -> None:
    text = json.dumps([{**CALL, "ts": 0.125}]).replace("0.125", ts)
    assert read(tmp_path, text).events.start_ns.tolist() == [ns]


def test_whole_microseconds_are_noticed(tmp_path: Path) -> None:
    whole = [{**CALL, "ts": 1683564901951734, "dur": 15}]
    assert read(tmp_path, whole).info.rounded_to_us
    assert not read(tmp_path, [*whole, CALL]).info.rounded_to_us


def test_a_nan_that_nobody_needs_does_no_harm(tmp_path: Path) -> None:
    op = {**KERNEL, "name": "is nan, inf or NaN", "args": {**KERNEL["args"], "GB/s": float("inf")}}
    trace = read(tmp_path, {"traceEvents": [op], "note": float("nan")})
    assert trace.names == ("is nan, inf or NaN",)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({**KERNEL, "dur": float("nan")}, ["gemm", "dur", "NaN"]),
        ({**KERNEL, "dur": -1.5}, ["gemm", "dur", "-1.5"]),
        ({**KERNEL, "dur": None}, ["gemm", "has no dur"]),
        ({**KERNEL, "ts": None}, ["gemm", "has no ts"]),
        ({k: v for k, v in KERNEL.items() if k != "ts"}, ["gemm", "has no ts"]),
        ({**KERNEL, "ts": "soon"}, ["gemm", "soon"]),
        ({**KERNEL, "ts": float("inf")}, ["gemm", "Infinity"]),
    ],
)
def test_unusable_times_are_refused_named_and_counted(
    tmp_path: Path, event: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, {"traceEvents": [CALL, event, event, KERNEL]})
    assert "2 events" in caught.value.what
    assert all(word in caught.value.why for word in words)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"Not JSON", "not JSON"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b'{"traceEvents": [{"ph": "X"', "not JSON"),
        (b'{"traceEvents": []} trailing', "not JSON"),
        (b"{}", "no traceEvents"),
        (b'{"events": [1]}', "no traceEvents"),
        (b'{"meta": {"traceEvents": []}}', "no traceEvents"),
        (b"3", "not a Kineto trace"),
        (b"[1, 2]", "not a Kineto trace"),
        (b'{"traceEvents": 5}', "not a Kineto trace"),
        (gzip.compress(b'{"traceEvents": []}' * 99, mtime=0)[:-9], "cut short"),
        (b"\x1f\x8b", "cut short"),
        (gzip.compress(b'{"traceEvents": []}', mtime=0)[:-8] + b"\0" * 8, "damaged"),
    ],
)
def test_what_is_no_trace_is_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=what) as caught:
        read_trace(path)
    assert "bad.json" in caught.value.what
    assert caught.value.remedy


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(TraceError, match="cannot be read"):
            read_trace(path)


def test_a_gzip_of_several_members_is_read_to_its_end(tmp_path: Path) -> None:
    text = json.dumps([CALL, KERNEL]).encode()
    path = tmp_path / "two.json.gz"
    path.write_bytes(gzip.compress(text[:40]) + gzip.compress(text[40:]))
    assert len(read_trace(path).events) == 2


# Layouts -------------------------------------------------------------------------------------

SEPARATORS = ["},\n  {", "}, {", '"},\n  {"ph": "X"', '\\"traceEvents\\": [', "]}", "é"]
white = st.text(" \n\t\r", max_size=4)
names = st.lists(st.sampled_from([*SEPARATORS, "gemm", "NaN", "\\", '"']), max_size=3).map("".join)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    ns = draw(st.one_of(st.integers(0, 10**15), st.integers(10**18, 2 * 10**18)))
    event = {
        "ph": draw(st.sampled_from(["X", "X", "X", "s", "M"])),
        "cat": draw(st.sampled_from(["kernel", "cuda_runtime", "user_annotation", "ac2g", None])),
        "name": draw(names),
        "ts": f"<{ns // 1000}.{ns % 1000:03d}>",
        "dur": draw(st.integers(0, 1000)),
        "pid": 0,
        "tid": 7,
        "args": {
            "device": 0,
            "stream": 7,
            "nested": draw(st.sampled_from([[], [{}, {}, {"a": 1}]])),
        },
    }
    order = draw(st.permutations(list(event)))
    return {key: event[key] for key in order if event[key] is not None}


def laid_out(document: Any, indent: int | None, spaces: tuple[str, str]) -> str:
    text = json.dumps(document, indent=indent, separators=spaces, ensure_ascii=False)
    return text.replace('"<', "").replace('>"', "")


@settings(max_examples=150)
@given(
    listed=st.lists(events(), max_size=30),
    indent=st.sampled_from([None, 0, 1, 2]),
    space=st.tuples(white.map(lambda w: w + "," + w), white.map(lambda w: ":" + w)),
    tail=st.sampled_from(
        [None, {"after": [{"a": 1}, {"b": "},\n  {"}], "distributedInfo": {"rank": 2}}]
    ),
    piece=st.sampled_from([16, 200, 1000, 10**6]),
    pid=st.sampled_from([0, "Spans"]),  # one: events of several processes are told apart
)
def test_any_layout_reads_as_json_and_decimals_do(
    tmp_path_factory: pytest.TempPathFactory,
    listed: list[dict[str, Any]],
    indent: int | None,
    space: tuple[str, str],
    tail: dict[str, Any] | None,
    piece: int,
    pid: int | str,
) -> None:
    listed = [{**event, "pid": pid} for event in listed]
    document = listed if tail is None else {"traceEvents": listed, **tail}
    text = laid_out(document, indent, space)
    path = write(tmp_path_factory.mktemp("layout") / "trace.json", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "PIECE_BYTES", piece)
        patch.setattr(inflating, "BLOCK_BYTES", piece)
        trace = read_trace(path)
    rows, skipped = plain_reading(text)
    assert rows_of(trace) == [(KIND_OF_CATEGORY[cat], *rest) for cat, *rest in rows]
    assert trace.info.skipped == dict(skipped)
    assert trace.info.rank == (2 if tail else None)


@pytest.mark.parametrize("count", [1, 150, 1000])
def test_categories_that_nobody_knows_are_counted_each(tmp_path: Path, count: int) -> None:
    new = [{**CALL, "cat": f"new {i % count}"} for i in range(1000)]
    trace = read(tmp_path, [CALL, *new, KERNEL])
    assert trace.info.skipped == Counter(event["cat"] for event in new)
    assert trace.events.kind.tolist() == [Kind.CALL, Kind.KERNEL]


def test_a_category_is_learned_where_it_is_met_first(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.json", [{**CALL, "cat": f"new {i // 50}"} for i in range(200)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "PIECE_BYTES", 1000)
        patch.setattr(inflating, "BLOCK_BYTES", 1000)
        trace = read_trace(path)
    assert trace.info.skipped == {f"new {i}": 50 for i in range(4)}


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("xpu_runtime", Kind.CALL),
        ("xpu_driver", Kind.CALL),
        ("mtia_runtime", Kind.CALL),
        ("Runtime", Kind.CALL),
        ("Kernel", Kind.KERNEL),
        ("Memcpy", Kind.MEMCPY),
        ("Memset", Kind.MEMSET),
    ],
)
def test_categories_of_other_vendors_and_older_files_are_read(
    tmp_path: Path, category: str, kind: Kind
) -> None:
    assert read(tmp_path, [{**KERNEL, "cat": category}]).events.kind.tolist() == [kind]


@pytest.mark.parametrize("device", [-5, -(2**40), 2**31 - 1, 2**32, 2**63 - 1])
def test_a_device_that_has_no_number_of_one_is_refused_by_name(tmp_path: Path, device: int) -> None:
    op = {**KERNEL, "args": {"device": device, "stream": 7}}
    with pytest.raises(TraceError, match=f"kernel event has device = {device}"):
        read(tmp_path, [KERNEL, op, {**op, "cat": "cuda_sync"}])


@pytest.mark.parametrize("device", [0, 2**31 - 2])
def test_a_device_may_have_any_number(tmp_path: Path, device: int) -> None:
    op = {**KERNEL, "args": {"device": device, "stream": 7}}
    assert read(tmp_path, [op]).events.device.tolist() == [device]


@pytest.mark.parametrize("pid", [-7, 2**40, "9" * 5000])
def test_a_track_that_is_no_device_gives_none(tmp_path: Path, pid: object) -> None:
    op = {**KERNEL, "pid": pid, "args": {}}
    assert read(tmp_path, [op]).events.device.tolist() == [NONE]


@pytest.mark.parametrize(
    "field",
    [
        {"baseTimeNanoseconds": 10**30},
        {"baseTimeNanoseconds": "9" * 5000},
        {"distributedInfo": {"rank": 2**64}},
        {"cupti_version": 10**30},
        {"deviceProperties": [{"id": 2**70, "name": 5, "totalGlobalMem": -(2**80)}]},
        {"deviceProperties": [" " * 2**20]},
        {"other": [10**30]},
    ],
)
def test_header_fields_that_do_not_fit_are_none(tmp_path: Path, field: dict[str, Any]) -> None:
    info = read(tmp_path, {**field, "traceEvents": [CALL]}).info
    assert (info.base_time_ns, info.rank, info.versions) == (None, None, {})
    assert msgspec.json.decode(msgspec.json.encode(info))
