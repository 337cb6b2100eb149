"""Number the streams of a run's devices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trace_timing.arrays import IntArray, number_codes


def lanes_of(
    device: npt.NDArray[np.int32], stream: IntArray
) -> tuple[tuple[tuple[int, int], ...], IntArray]:
    """The distinct (device, stream) pairs in order, and the number of each op's pair.

    Pairs are few, so they are counted: np.unique on rows would sort all ops.
    """
    devices, streams = np.unique(device), np.unique(stream)
    code = np.searchsorted(devices, device) * len(streams) + np.searchsorted(streams, stream)
    used, number = number_codes(code)
    pairs = (divmod(int(value), len(streams)) for value in used)
    return tuple((int(devices[d]), int(streams[s])) for d, s in pairs), number
