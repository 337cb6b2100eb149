"""The comparison of outputs over versions tells last digits from other values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.same_values import compare


def written(path: Path, **values: Any) -> Path:
    path.write_text(json.dumps({"with": {"python": path.stem}, "values": values}))
    return path


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"a": 1, "b": 0.1, "c": "x", "d": [1.0]}, 0),
        ({"a": 1, "b": 0.1 + 1e-13, "c": "x", "d": [1.0 + 1e-13]}, 0),
        ({"a": 2, "b": 0.1, "c": "x", "d": [1.0]}, 1),
        ({"a": 1.0, "b": 0.1, "c": "x", "d": [1.0]}, 1),
        ({"a": 1, "b": 0.1001, "c": "x", "d": [1.0]}, 1),
        ({"a": 1, "b": None, "c": "x", "d": [1.0]}, 1),
        ({"a": 1, "b": 0.1, "c": "y", "d": [1.0]}, 1),
        ({"a": 1, "b": 0.1, "c": "x"}, 1),
    ],
)
def test_integers_are_equal_and_floats_to_their_last_digits(
    tmp_path: Path, other: dict[str, Any], code: int
) -> None:
    one = written(tmp_path / "one.json", a=1, b=0.1, c="x", d=[1.0])
    assert compare([one, written(tmp_path / "other.json", **other)]) == code
