"""Streams are numbered by device, then stream."""

from __future__ import annotations

import numpy as np

from trace_timing.timeline.build.streams import lanes_of


def test_lanes_are_those_that_occur_in_order() -> None:
    device = np.array([1, 0, 0, 1, 0], np.int32)
    stream = np.array([7, 20, 7, 7, 20], np.int64)
    lanes, lane = lanes_of(device, stream)
    assert lanes == ((0, 7), (0, 20), (1, 7))
    assert lane.tolist() == [2, 1, 0, 2, 1]


def test_no_op_has_no_lane() -> None:
    lanes, lane = lanes_of(np.empty(0, np.int32), np.empty(0, np.int64))
    assert (lanes, len(lane)) == ((), 0)
