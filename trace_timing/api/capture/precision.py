"""Decide when a sample's controls give its latency precisely enough."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from trace_timing.arrays import FloatArray
from trace_timing.errors import UsageError
from trace_timing.records.runs import RunRecord
from trace_timing.stats.methods.control_mean import PooledSpread, enough, pooled_spread

#: Number of last samples that give the spread, which changes with the machine's load.
_POOLED_SAMPLES = 100


def fraction(given: str | float | None) -> float | None:
    """A precision from `3%` or 0.03; None stays None.

    Raises:
        UsageError: no number, or not between 0 and 1.
    """
    if given is None:
        return None
    text = str(given).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UsageError(
            f"the precision {given} means nothing",
            remedy="give a share of the total, as 3% or 0.03",
        )
    return share


class Precision:
    """Whether a sample's controls give its total to within a share of it, at 95 %.

    Uses the spread within earlier samples of the capture too, since the few controls of one sample
    show little of their own spread, and stopping on that would select those that agree by chance.
    So the first sample takes as many controls as are allowed.

    Args:
        share: half-width ÷ total.
        before: totals (ns) of earlier samples, each in the order made.
    """

    def __init__(self, share: float, before: Iterable[Sequence[int]] = ()) -> None:
        self._share = share
        self._samples: list[FloatArray] = []
        for totals_ns in before:
            self.add(totals_ns)

    def __call__(self, totals_ns: Sequence[int]) -> bool:
        """Whether the controls so far are enough."""
        return enough(np.asarray(totals_ns, np.float64), self._share, self._pooled())

    def add(self, totals_ns: Sequence[int]) -> None:
        """Note the controls of a finished sample."""
        self._samples.append(np.asarray(totals_ns, np.float64))

    def note(self) -> str | None:
        """How many of the samples reach the precision, by the spread in all; None if all do."""
        pooled = self._pooled()
        reached = sum(enough(totals, self._share, pooled) for totals in self._samples)
        if reached == len(self._samples):
            return None
        return (
            f"{reached} of {len(self._samples)} samples have a total known to ± "
            f"{100 * self._share:.3g} %; the others differ too much for the controls allowed"
        )

    def _pooled(self) -> PooledSpread | None:
        last = self._samples[-_POOLED_SAMPLES:]
        return pooled_spread((totals[:, None], totals) for totals in last)


def totals_by_sample(records: Iterable[RunRecord]) -> list[list[int]]:
    """Totals of the controls of each sample and repeat, bare ones left out."""
    totals: dict[tuple[str, int], list[int]] = {}
    for record in records:
        if record.control is not None and not record.control.bare:
            key = (record.sample_id, record.repeat)
            totals.setdefault(key, []).append(record.control.total_ns)
    return list(totals.values())
