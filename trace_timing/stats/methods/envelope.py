"""What the host would take at its undisturbed speed: a figure that noise does not touch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trace_timing.arrays import FloatArray

#: Share of the quickest values that the undisturbed figure is read at.
ENVELOPE = 0.1


def undisturbed(values: FloatArray | Sequence[float]) -> float | None:
    """The lower envelope: what most steps would take if the host were never disturbed.

    The tenth percentile over steps and repeats. Noise only ever adds time, so it hardly moves with
    it, where the median does; the minimum would be a step that was lucky, or timed wrongly.
    """
    data = np.asarray(values, np.float64)
    return float(np.quantile(data, ENVELOPE, method="lower")) if len(data) else None
