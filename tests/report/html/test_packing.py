"""Packed values are restored to the last bit; test_page_browser tests the reader in JavaScript."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_timing.report.html.packing import pack


def unpack(text: str) -> Any:
    whole = gzip.decompress(base64.b64decode(text))
    length = int.from_bytes(whole[:4], "little")
    return _expand(json.loads(whole[4 : 4 + length]), whole[4 + length :])


def _expand(value: Any, binary: bytes) -> Any:
    if isinstance(value, list):
        return [_expand(v, binary) for v in value]
    if not isinstance(value, dict):
        return value
    if "~i" in value:
        offset, count, divide, leaps = value["~i"]
        leap = dict(leaps)
        planes = np.frombuffer(binary, np.uint8, 4 * count, offset).reshape(4, count)
        steps, total, out = planes.T.copy().view("<i4").ravel(), 0, []
        for place, step in enumerate(steps.tolist()):
            total += 0 if step == -(2**31) else leap.get(place, step)
            out.append(None if step == -(2**31) else total / divide)
        return out
    if "~s" in value:
        words, indices = value["~s"]
        return [words[int(i)] for i in _expand(indices, binary)]
    return {key: _expand(v, binary) for key, v in value.items()}


@given(st.lists(st.one_of(st.integers(-(10**12), 10**12), st.none()), max_size=80))
def test_nanoseconds_as_milliseconds_read_back_exactly(values: list[int | None]) -> None:
    ms = np.array([np.nan if v is None else v / 1e6 for v in values], float)
    assert unpack(pack({"x": ms}))["x"] == [None if v is None else v / 1e6 for v in values]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=60))
def test_any_finite_float_reads_back_exactly(values: list[float]) -> None:
    assert unpack(pack({"x": np.array(values, float)}))["x"] == values


def test_far_apart_stretches_stay_small() -> None:
    stretch = np.arange(0, 10**8, 10**4)  # ns; the next one begins ten seconds later
    ns = np.concatenate([stretch + number * 10**10 for number in range(8)])
    packed = pack({"x": ns / 1e6})
    assert unpack(packed)["x"] == (ns / 1e6).tolist()
    assert len(packed) < 10_000


def test_words_that_repeat_are_stored_once() -> None:
    values = ["prefill", "decode"] * 500
    packed = pack({"s": values})
    assert unpack(packed)["s"] == values
    assert len(packed) < 300


def test_infinity_is_no_number_of_json() -> None:
    assert unpack(pack({"x": np.array([1.0, np.inf] * 30)}))["x"][:2] == [1.0, None]


@pytest.mark.parametrize("kind", ["i4", "f8", "u1"])
def test_arrays_as_plotly_hands_them_out_are_read(kind: str) -> None:
    values = np.arange(100).astype(kind)
    plotly = {"dtype": kind, "bdata": base64.b64encode(values.tobytes()).decode()}
    assert unpack(pack({"x": plotly}))["x"] == values.tolist()
