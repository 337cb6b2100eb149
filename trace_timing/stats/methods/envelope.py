"""The lower envelope: a figure of the undisturbed host, which noise hardly moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trace_timing.arrays import FloatArray

#: Quantile of the undisturbed figure.
ENVELOPE = 0.1


def undisturbed(values: FloatArray | Sequence[float]) -> float | None:
    """The tenth percentile over steps and repeats: a step's time with the host undisturbed.

    Noise only adds time, so it moves the median and hardly this. The minimum would be a lucky or
    wrongly timed step.
    """
    data = np.asarray(values, np.float64)
    return float(np.quantile(data, ENVELOPE, method="lower")) if len(data) else None
