"""Numbering codes: by counting where they lie close, by sorting where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from trace_timing.arrays import number_codes
from trace_timing.timeline.build.streams import lanes_of


@pytest.mark.parametrize("largest", [5, 10**6, 2**62])
def test_codes_are_numbered_whatever_they_are(largest: int) -> None:
    codes = np.array([largest, 3, 3, 0, largest], np.int64)
    used, place = number_codes(codes)
    assert used.tolist() == [0, 3, largest]
    assert place.tolist() == [2, 1, 1, 0, 2]


def test_no_codes_are_numbered_too() -> None:
    used, place = number_codes(np.empty(0, np.int64))
    assert len(used) == len(place) == 0


def test_many_devices_and_streams_take_memory_by_their_number() -> None:
    device = np.arange(100_000, dtype=np.int32)
    stream = np.arange(100_000, dtype=np.int64) * 2**40
    lanes, number = lanes_of(device, stream)  # as a table of all pairs it would be 80 GB
    assert len(lanes) == 100_000
    assert number.tolist() == list(range(100_000))
