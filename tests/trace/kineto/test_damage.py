"""A trace with damage in what is not timed is read, with what was left out or put right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trace.kineto_files import CALL, FLOW, KERNEL, META, RANGE
from trace_timing.errors import TraceError
from trace_timing.trace.events import Damage, Kind, Trace
from trace_timing.trace.kineto import inflating, reader
from trace_timing.trace.kineto.reader import read_trace
from trace_timing.trace.kineto.text import repaired

PYTHON = {**CALL, "cat": "python_function", "name": "NAME", "args": {}}


def read(tmp_path: Path, text: bytes, **settings: bool) -> Trace:
    path = tmp_path / "trace.json"
    path.write_bytes(text)
    return read_trace(path, **settings)


def with_name(
    name: bytes, event: dict[str, Any] = PYTHON, before: int = 1, after: int = 1
) -> bytes:
    """A document with an event of this name, as it stands there, among others."""
    text = json.dumps(event).encode().replace(json.dumps(event["name"]).encode(), b'"%b"' % name)
    good = json.dumps({**CALL, "name": "good"}).encode()
    events = b",\n  ".join([good] * before + [text] + [good] * after)
    return b'{"schemaVersion": 1, "traceEvents": [\n  ' + events + b'\n], "traceName": "a"}'


@pytest.mark.parametrize(
    "name",
    [
        b"torch\\cuda\\x.py",
        b"\\u12",
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\xff\xfe",
        b"a\x01b",
        b"a\nb",
    ],
)
def test_a_name_that_is_no_json_text_is_put_right(tmp_path: Path, name: bytes) -> None:
    trace = read(tmp_path, with_name(name))
    assert trace.events.kind.tolist() == [Kind.CALL, Kind.CALL]
    assert trace.info.damage.repaired == 1
    assert trace.info.damage.first_repaired.isprintable()
    assert trace.info.skipped == {"python_function": 1}


@pytest.mark.parametrize("name", [b"C:\\dir\\", b'say "yes" twice', b'"'])
@pytest.mark.parametrize("place", [(0, 3), (2, 2), (3, 0)])
def test_an_event_that_is_not_timed_and_cannot_be_read_is_left_out(
    tmp_path: Path, name: bytes, place: tuple[int, int]
) -> None:
    trace = read(tmp_path, with_name(name, before=place[0], after=place[1]))
    assert trace.events.kind.tolist() == [Kind.CALL] * sum(place)
    assert trace.info.damage.left_out == {"python_function": 1}
    assert "python_function" in trace.info.damage.first_left_out


def test_marks_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    for event in (FLOW, META):
        assert read(tmp_path, with_name(b'"', event)).info.damage.left_out == {
            f"ph {event['ph']}": 1
        }


@pytest.mark.parametrize("event", [CALL, KERNEL, RANGE, {**CALL, "cat": "Kernel"}])
def test_a_timed_event_that_cannot_be_read_costs_the_trace(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    with pytest.raises(TraceError, match="1 events of damaged text") as caught:
        read(tmp_path, with_name(b'"', event))
    assert event["cat"] in caught.value.why


@pytest.mark.parametrize("number", ["1e999", "-17e507", "9" * 400])
def test_a_number_beyond_every_type_is_damage_too(tmp_path: Path, number: str) -> None:
    """As an id of a call it costs the trace; where nothing is timed by it, the event."""
    for event, costs in ((CALL, True), ({**CALL, "cat": "python_function"}, False)):
        text = json.dumps({"traceEvents": [KERNEL, event]}).replace(
            '"correlation": 7}}]', f'"correlation": {number}}}}}]'
        )
        assert number in text
        path = tmp_path / "trace.json"
        path.write_text(text)
        if costs and number != "9" * 400:
            with pytest.raises(TraceError, match="damaged text"):
                read_trace(path)
        else:
            assert read_trace(path).events.kind.tolist()[0] == Kind.KERNEL


def test_a_kernel_whose_name_is_put_right_keeps_its_times(tmp_path: Path) -> None:
    trace = read(tmp_path, with_name(b"gemm\xe9_\\x", KERNEL, before=0, after=0))
    assert (trace.names, trace.events.dur_ns.tolist()) == (("gemm�_\\x",), [3125])


def test_arguments_that_nest_too_deeply_leave_an_event_out(tmp_path: Path) -> None:
    # From Python 3.13 on thousands of levels are read, from 3.14 on what the stack has room for.
    args = b"[" * 1_000_000 + b"]" * 1_000_000
    text = with_name(b"deep").replace(b'"args": {}', b'"args": {"a": ' + args + b"}")
    assert read(tmp_path, text).info.damage.left_out == {"python_function": 1}


@pytest.mark.parametrize("token", ["NaN", "-inf", "-nan(ind)", "nan(snan)", "-1.#IND", "1.#QNAN00"])
def test_bare_numbers_that_are_none_pass_where_nobody_needs_them(
    tmp_path: Path, token: str
) -> None:
    text = json.dumps([{**KERNEL, "args": {**KERNEL["args"], "GB/s": 0.5}}]).replace("0.5}", "@}")
    trace = read(tmp_path, text.replace("@", token).encode())
    assert trace.info.damage == Damage()
    assert len(trace.events) == 1


@pytest.mark.parametrize("field", ["ts", "dur"])
@pytest.mark.parametrize("value", ["-nan(ind)", "null", "-1e300", '"\xff"'])
def test_a_range_without_usable_times_is_left_out_by_name(
    tmp_path: Path, field: str, value: str
) -> None:
    bad = json.dumps({**RANGE, "name": "theirs", field: "@"}).replace('"@"', value)
    text = f"[{json.dumps(CALL)}, {bad}]".encode("latin-1")
    trace = read(tmp_path, text)
    assert list(trace.info.damage.ranges) == ["theirs"]
    assert trace.info.damage.left_out == {"user_annotation": 1}
    assert len(trace.events) == 1


@pytest.mark.parametrize("category", ["overhead", "cuda_sync", "cpu_op"])
def test_events_by_which_nothing_is_timed_are_left_out(tmp_path: Path, category: str) -> None:
    text = json.dumps([CALL, {**CALL, "cat": category, "dur": -1.0}]).encode()
    assert read(tmp_path, text, cpu_ops=True).info.damage.left_out == {category: 1}


def test_damage_in_any_piece_is_found(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "PIECE_BYTES", 1000)
        patch.setattr(inflating, "BLOCK_BYTES", 1000)
        for before in range(0, 60, 6):
            trace = read(tmp_path, with_name(b"C:\\x\\", before=before, after=60 - before))
            assert len(trace.events) == 60
            assert trace.info.damage.left_out == {"python_function": 1}


def test_two_writers_are_told_by_their_processes(tmp_path: Path) -> None:
    text = with_name(b'"', KERNEL).replace(b'"pid": 10', b'"pid": 11', 1)
    with pytest.raises(TraceError, match="two writers wrote into one file"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [b'{"a": "b\\"c\\\\", "d": [1, -2.5e3, "\\u00e9\\ud83d\\ude00"]}', b'"' * 7, b"", "é".encode()],
)
def test_text_that_is_right_is_left_as_it_is(text: bytes) -> None:
    assert repaired(text)[0] == text


def test_a_string_of_a_million_escapes_is_looked_at_once() -> None:
    text = b'{"a": "' + b'\\"' * 1_000_000
    assert repaired(text)[0] == text
