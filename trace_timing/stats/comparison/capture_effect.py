"""Effect between A and B with drift between captures as part of the error.

All samples of a capture share the machine's state, so more samples do not show how far the capture
as a whole is off. Therefore captures are the units: each has one value of a figure, the mean over
its samples of the logarithm, and the spread of these values is the error. One capture a side has no
spread and three have little, so it is moderated towards a prior (G. K. Smyth, Stat. Appl. Genet.
Mol. Biol. 3 (2004) 3), as for few replicates in gene expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from trace_timing.arrays import FloatArray
from trace_timing.stats.methods.intervals import LEVEL, Interval
from trace_timing.stats.methods.paired_test import FEWEST


@dataclass(frozen=True)
class Drift:
    """Prior spread of the log of one capture's figure with nothing changed.

    A standard deviation, and the degrees of freedom that it counts for.
    """

    spread: float
    freedom: float = 8.0


@dataclass(frozen=True, kw_only=True)
class CaptureEffect:
    """log(B ÷ A) of one figure by captures; `spread` is one capture's, pooled with the prior."""

    #: Number of captures on the smaller side.
    n: int
    log_ratio: float
    p: float
    spread: float
    error: float
    freedom: float

    def interval(self, level: float = LEVEL) -> Interval:
        """Interval of log(B ÷ A)."""
        half = float(special.stdtrit(self.freedom, (1 + level) / 2)) * self.error
        return Interval(self.log_ratio - half, self.log_ratio + half)

    def shown(self, alpha: float, power: float) -> float:
        """The log ratio that is detected with this power at level `alpha`, two-sided."""
        t = float(special.stdtrit(self.freedom, 1 - alpha / 2))
        return (t + float(special.ndtri(power))) * self.error


def capture_effect(
    a: Sequence[FloatArray],
    b: Sequence[FloatArray],
    drift: Drift,
    *,
    paired: bool,
    shift: float = 0.0,
) -> CaptureEffect | None:
    """Moderated t of capture means.

    Args:
        a, b: for each capture of a side its values > 0; paired ones have the same n samples in the
            same order, and a sample that any capture lacks (NaN) is left out.
        shift: standard deviation of a further error of log(B ÷ A) that further captures do not
            average out.
    Returns:
        None where fewer than FEWEST samples remain in any capture.
    """
    values = _paired_values(a, b) if paired else _unpaired_values(a, b)
    if values is None:
        return None
    return moderated_effect(*values, drift, shift=shift)


def moderated_effect(
    left: FloatArray, right: FloatArray, noise: float, drift: Drift, *, shift: float = 0.0
) -> CaptureEffect:
    """Moderated t of one value a capture.

    Args:
        left, right: one logarithm for each capture of a side.
        noise: variance of such a value due to differences within a capture.
        shift: as in `capture_effect`.
    """
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in (left, right))
    own = len(left) + len(right) - 2
    prior = drift.spread**2 + noise
    freedom = drift.freedom + own
    variance = (drift.freedom * prior + squares) / freedom
    error = float(np.sqrt(variance * (1 / len(left) + 1 / len(right)) + shift**2))
    log_ratio = float(right.mean() - left.mean())
    return CaptureEffect(
        n=min(len(left), len(right)),
        log_ratio=log_ratio,
        p=float(2 * special.stdtr(freedom, -abs(log_ratio) / error)),
        spread=float(np.sqrt(variance)),
        error=error,
        freedom=freedom,
    )


_Values = tuple[FloatArray, FloatArray, float]


def _paired_values(a: Sequence[FloatArray], b: Sequence[FloatArray]) -> _Values | None:
    """One value for each capture, centred on the samples' means, and the variance of its noise."""
    values = np.stack([*a, *b])
    values = np.log(values[:, ((values > 0) & np.isfinite(values)).all(axis=0)])
    captures, samples = values.shape
    if samples < FEWEST:
        return None
    apart = values - values.mean(axis=0)
    means, noise = middles(apart)
    # Centring C captures reduces the variance; C ÷ (C − 1) corrects for it.
    return means[: len(a)], means[len(a) :], float(noise.mean()) * captures / (captures - 1)


def _unpaired_values(a: Sequence[FloatArray], b: Sequence[FloatArray]) -> _Values | None:
    logs = [np.log(values[values > 0]) for values in (*a, *b)]
    if min(map(len, logs)) < FEWEST:
        return None
    found = [middles(values[None]) for values in logs]
    means, noise = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return means[: len(a)], means[len(a) :], float(noise.mean())


def middles(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean of the middle half of each row, and that mean's variance from the winsorised row.

    So that a stall in one sample does not move the mean.
    Source: J. W. Tukey and D. H. McLaughlin, Sankhyā A 25 (1963) 331.
    """
    ordered = np.sort(values, axis=1)
    out = values.shape[1] // 4
    middle = ordered[:, out : values.shape[1] - out]
    winsorised = np.clip(ordered, middle[:, :1], middle[:, -1:])
    squares = ((winsorised - winsorised.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    kept = middle.shape[1]
    return middle.mean(axis=1), squares / (kept * (kept - 1))
