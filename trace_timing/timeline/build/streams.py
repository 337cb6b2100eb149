"""The streams of a run's devices, numbered."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trace_timing.arrays import IntArray, number_codes


def lanes_of(
    device: npt.NDArray[np.int32], stream: IntArray
) -> tuple[tuple[tuple[int, int], ...], IntArray]:
    """Every (device, stream) that occurs, in order, and the number of each op's.

    They are few: to sort all ops by them, as np.unique does with rows, would take most of the time
    of what needs them.
    """
    devices, streams = np.unique(device), np.unique(stream)
    code = np.searchsorted(devices, device) * len(streams) + np.searchsorted(streams, stream)
    used, number = number_codes(code)
    pairs = (divmod(int(value), len(streams)) for value in used)
    return tuple((int(devices[d]), int(streams[s])) for d, s in pairs), number
