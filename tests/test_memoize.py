"""What is computed once is shared, and gone with the value that it follows from."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from trace_timing.memoize import cached_per_object


class _Value:
    def __init__(self, number: int) -> None:
        self.number = number


def test_an_answer_is_computed_once_for_each_last_argument() -> None:
    asked: list[int] = []

    @cached_per_object
    def double(_: str, value: _Value) -> int:
        asked.append(value.number)
        return 2 * value.number

    one, equal = _Value(3), _Value(3)
    assert [double("a", one), double("a", one), double("a", equal)] == [6, 6, 6]
    assert asked == [3, 3]


def test_an_answer_goes_with_its_value() -> None:
    @cached_per_object
    def wrapped(value: _Value) -> _Value:
        return _Value(value.number)

    value = _Value(1)
    answer = weakref.ref(wrapped(value))
    assert answer() is not None
    del value
    gc.collect()
    assert answer() is None


def test_a_shared_array_cannot_be_changed() -> None:
    @cached_per_object
    def counted(value: _Value) -> np.ndarray:  # type: ignore[type-arg]
        return np.arange(value.number)

    with pytest.raises(ValueError, match="read-only"):
        counted(_Value(3))[0] = 7
