"""Figures and tables as small text for an HTML file: arrays in binary, the whole compressed.

A packed value is gzip in base64 of: length of the JSON text (uint32 LE), the text, a binary part.
In the text, `{"~i": [offset, n, divide, leaps]}` stands for n numbers stored as int32 differences
in four byte planes (the planes of slowly changing numbers compress well), divided by `divide`;
the least int32 stands for null, and `leaps` are [place, difference] of what int32 cannot hold, such
as the nanoseconds from one stretch of recorded steps to the next. `{"~s": [words, indices]}` stands
for strings out of few words.
templates/unpack.js reads it; what it reads back equals what went in, to the last bit.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_timing.units import NS_PER_MS, NS_PER_US

if TYPE_CHECKING:
    import pandas as pd

NULL = np.iinfo(np.int32).min
#: Shorter arrays stay in the JSON text, where they can be read.
SHORT = 24
#: More leaps than this share of an array, and it is no smaller than its text.
MOST_LEAPS_FRAC = 0.1


def pack(value: Any) -> str:
    """Base64 text of a JSON-like value that may hold numpy arrays."""
    binary = bytearray()
    text = json.dumps(_packed(value, binary), separators=(",", ":"), allow_nan=False).encode()
    whole = len(text).to_bytes(4, "little") + text + bytes(binary)
    return base64.b64encode(zipped(whole)).decode()


def zipped(data: bytes) -> bytes:
    """gzip, the same for the same data. A tenth larger than zlib's level 9, ten times as fast."""
    from isal import igzip

    return bytes(igzip.compress(data, 3, mtime=0))


def columns(table: pd.DataFrame) -> dict[str, Any]:
    """A table as column → array, for `pack`; nulls become NaN or None."""
    return {str(name): _column(table[name]) for name in table.columns}


def _column(values: pd.Series) -> Any:
    if values.dtype.kind in "if" or str(values.dtype) in ("Int64", "Float64"):
        return values.astype("float64").to_numpy()
    if values.dtype.kind == "b":
        return [bool(v) for v in values]
    return [_cell(v) for v in values]


def _cell(value: object) -> str | bool | None:
    """Metadata can be anything, lists and arrays too: shown as text."""
    if isinstance(value, bool):
        return value
    # pandas' own missing value has no truth, and pandas is not loaded here for its name alone.
    missing = value is None or type(value).__name__ in ("NAType", "NaTType")
    if missing or (isinstance(value, float) and value != value):
        return None
    return str(value.tolist() if isinstance(value, np.ndarray) else value)


def _packed(value: Any, binary: bytearray) -> Any:
    if isinstance(value, Mapping):
        if "bdata" in value:
            return _array(_from_plotly(value), binary)
        return {str(key): _packed(v, binary) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        return _array(value, binary)
    if isinstance(value, (list, tuple)):
        if len(value) > SHORT and set(map(type, value)) == {str}:
            return _words(list(value), binary)
        return [_packed(v, binary) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _from_plotly(value: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """plotly hands arrays out as base64 of their bytes, which would compress badly."""
    values = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
    if "shape" not in value:
        return values
    return values.reshape([int(n) for n in str(value["shape"]).split(",")])


def _array(values: np.ndarray[Any, Any], binary: bytearray) -> Any:
    if values.dtype.kind not in "iufb" or values.ndim != 1:
        return _packed(values.tolist(), binary)
    if len(values) > SHORT:
        for divide in (1, NS_PER_MS, NS_PER_US):
            whole = _whole(values.astype(float), divide)
            if whole is not None:
                steps, leaps = whole
                return {"~i": [_planes(steps, binary), len(values), divide, leaps]}
    return [_packed(v, binary) for v in values.tolist()]


def _whole(
    values: np.ndarray[Any, Any], divide: int
) -> tuple[np.ndarray[Any, Any], list[list[int]]] | None:
    """Differences whose sums ÷ `divide` are exactly `values`, and those that are leaps, or None.

    NULL stands for NaN, 0 for a leap.
    """
    known = np.isfinite(values)
    if np.abs(values[known]).max(initial=0.0) > 2**53 / divide:
        return None
    whole = np.rint(values[known] * divide)
    if not np.array_equal(whole / divide, values[known]) or np.isinf(values).any():
        return None
    steps = np.diff(whole, prepend=0.0)
    leap = np.abs(steps) >= 2**31 - 1
    if leap.sum() > len(values) * MOST_LEAPS_FRAC:
        return None
    out = np.full(len(values), NULL, np.int32)
    out[known] = np.where(leap, 0.0, steps).astype(np.int32)
    places = np.flatnonzero(known)[leap]
    return out, [[int(i), int(step)] for i, step in zip(places, steps[leap], strict=True)]


def _planes(differences: np.ndarray[Any, Any], binary: bytearray) -> int:
    offset = len(binary)
    binary += differences.astype("<i4").view(np.uint8).reshape(-1, 4).T.tobytes()
    return offset


def _words(values: list[str], binary: bytearray) -> Any:
    words = list(dict.fromkeys(values))
    if len(words) * 2 > len(values):
        return values
    index = {word: i for i, word in enumerate(words)}
    return {"~s": [words, _array(np.array(list(map(index.__getitem__, values))), binary)]}
