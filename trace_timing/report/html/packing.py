"""Pack figures and tables into text for an HTML file: arrays in binary, all of it compressed.

A packed value is base64 of gzip of: length of the JSON text (uint32 LE), the JSON text, a binary
tail. In the JSON, two kinds of objects stand for arrays:

- `{"~i": [offset, n, divide, leaps]}`: n numbers. The tail has their int32 differences from
  `offset` on, in four byte planes, since the planes of slowly changing numbers compress well. The
  sums ÷ `divide` are the numbers; the least int32 stands for null. `leaps` are [index, difference]
  for differences that int32 cannot hold, as between two stretches of recorded steps in ns.
- `{"~s": [words, indices]}`: strings out of few words.

templates/unpack.js restores every value to the last bit.
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
#: Largest share of leaps in an array: with more it would be no smaller than its text.
MOST_LEAPS_FRAC = 0.1


def pack(value: Any) -> str:
    """Pack a JSON-like value that may hold numpy arrays into base64 text."""
    binary = bytearray()
    text = json.dumps(_packed(value, binary), separators=(",", ":"), allow_nan=False).encode()
    whole = len(text).to_bytes(4, "little") + text + bytes(binary)
    return base64.b64encode(zipped(whole)).decode()


def zipped(data: bytes) -> bytes:
    """gzip without a time stamp. A tenth larger than zlib at level 9, ten times as fast."""
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
    """A cell of any type: lists, arrays and other objects, which metadata may hold, as text."""
    if isinstance(value, bool):
        return value
    # By name, so that pandas need not be imported; its missing values cannot be compared.
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
    """Decode an array that plotly encoded as base64: in that form it would compress badly."""
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
    """Differences whose sums ÷ `divide` are exactly `values`, and the leaps among them.

    Among the differences NULL stands for NaN and 0 for a leap. None if `values` cannot be restored
    exactly, or have too many leaps.
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
    """Append int32 numbers as four byte planes and return their offset."""
    offset = len(binary)
    binary += differences.astype("<i4").view(np.uint8).reshape(-1, 4).T.tobytes()
    return offset


def _words(values: list[str], binary: bytearray) -> Any:
    """Strings as indices into their distinct ones, if these are few."""
    words = list(dict.fromkeys(values))
    if len(words) * 2 > len(values):
        return values
    index = {word: i for i, word in enumerate(words)}
    return {"~s": [words, _array(np.array(list(map(index.__getitem__, values))), binary)]}
