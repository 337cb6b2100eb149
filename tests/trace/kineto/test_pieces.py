"""Cutting a document between events, wherever they were laid out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import msgspec
import pytest

from trace_timing.trace.kineto.pieces import feed, has_second_list

PIECE_BYTES = 1 << 18


def blocks(text: str, size: int = 50_000) -> Iterator[bytes]:
    data = text.encode()
    return iter([data[i : i + size] for i in range(0, len(data), size)])


def fed(text: str) -> tuple[list[list[object]], object]:
    arrays: list[list[object]] = []
    rest = feed(blocks(text), lambda array: arrays.append(msgspec.json.decode(array)), PIECE_BYTES)
    return arrays, json.loads(rest.document)


EVENTS = [{"name": f"op {i}", "args": {"list": [{"a": i}, {"b": 2}]}} for i in range(40_000)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"schemaVersion": 1, "traceEvents": EVENTS, "traceName": "x"}),
        json.dumps({"schemaVersion": 1, "traceEvents": EVENTS, "traceName": "x"}, indent=2),
        json.dumps({"schemaVersion": 1, "traceEvents": EVENTS, "traceName": "x"}).replace(
            "}, {", "},\n  {"
        ),
    ],
    ids=["one line", "indented", "a line an event"],
)
def test_pieces_stay_small_and_lose_nothing(text: str) -> None:
    arrays, rest = fed(text)
    assert isinstance(rest, dict)
    assert [event for array in arrays for event in array] + rest["traceEvents"] == EVENTS
    assert (rest["schemaVersion"], rest["traceName"]) == (1, "x")
    assert len(arrays) > 3
    assert max(len(json.dumps(array)) for array in arrays) < 4 * PIECE_BYTES


def test_a_separator_in_a_name_only_makes_the_piece_longer() -> None:
    events = [{"name": "}, {" * 100_000}, *EVENTS]
    arrays, rest = fed(json.dumps(events))
    assert isinstance(rest, list)
    assert [event for array in arrays for event in array] + rest == events


def test_a_document_without_events_comes_back_whole() -> None:
    text = json.dumps({"meta": {"traceEvents": [1]}, "text": '"traceEvents": ['})
    assert fed(text) == ([], json.loads(text))


@pytest.mark.parametrize("pad", range(16))
def test_the_key_inside_the_header_does_not_hide_the_documents_own(pad: int) -> None:
    inner = '{"traceEvents": [0]}, ' * 3
    events = EVENTS[:8_000]
    text = f'{{"pad": "{"x" * pad}", "a": [{inner}1], "traceEvents": {json.dumps(events)}}}'
    arrays, rest = fed(text)
    assert arrays, "read in pieces, not as a whole"
    assert isinstance(rest, dict)
    assert [event for array in arrays for event in array] + rest["traceEvents"] == events


MEGABYTE = 1 << 20


def repeated(text: str, megabytes: int) -> str:
    return text * (megabytes * MEGABYTE // len(text))


@pytest.mark.parametrize(
    "text",
    [
        f'{{"pad": "{repeated("x", 60)}", "traceEvents": [{{"a": 1}}, {{"b": 2}}]}}',
        f'{{"pad": [{repeated("[1, 2], ", 60)}0], "traceEvents": [{{"a": 1}}, {{"b": 2}}]}}',
        f'{{"pad": [{repeated(chr(123) + "}, ", 60)}0]}}',
        f'{repeated(" ", 60)}{{"traceEvents": [{{"a": 1}}, {{"b": 2}}]}}',
        f'{{"pad": [{repeated(chr(123) + chr(34) + "traceEvents" + chr(34) + ": []}, ", 60)}0]}}',
    ],
    ids=["a long string", "a long list", "no events", "white space", "the key again and again"],
)
def test_a_long_header_takes_time_in_proportion(text: str) -> None:
    begun = time.process_time()
    rest = feed(blocks(text, 1 << 18), lambda array: None, PIECE_BYTES)
    # With a look at all that was read after each block it took 20 to 60 s.
    assert time.process_time() - begun < 5
    assert rest.document == text.encode()


def test_a_second_list_of_events_is_seen() -> None:
    once, again = '{"a": "traceEvents", "traceEvents": [{}', '], "traceEvents": [{}]}'
    assert has_second_list(feed(blocks(once + again), lambda array: None, PIECE_BYTES))
    assert not has_second_list(feed(blocks(once + "]}"), lambda array: None, PIECE_BYTES))
