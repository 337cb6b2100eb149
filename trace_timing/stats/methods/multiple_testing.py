"""Multiple-testing correction: weighted Holm, which controls the family-wise error rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trace_timing.arrays import BoolArray

#: Chance of any false verdict on a page that compares two equal settings.
ALPHA = 0.02


def shares(groups: Sequence[str], weights: dict[str, float]) -> list[float]:
    """Each hypothesis's share of α: its group's weight, split evenly within the group.

    The weights of the groups that occur are scaled to sum to one.
    """
    present = {name: weight for name, weight in weights.items() if name in groups}
    total = sum(present.values())
    return [present[name] / total / groups.count(name) for name in groups]


def weighted_holm(p: Sequence[float], share: Sequence[float], *, alpha: float = ALPHA) -> BoolArray:
    """Which hypotheses are rejected, with the family-wise error at most `alpha`.

    Valid under any dependence. The share of a rejected hypothesis goes to the others.

    Args:
        p, share: n values each; shares sum to at most one and are fixed before the data.
    Source: S. Holm, Scand. J. Stat. 6 (1979) 65, section 4.
    """
    values, weights = np.asarray(p, float), np.asarray(share, float)
    rejected = np.zeros(len(values), dtype=bool)
    left = float(weights.sum())
    for i in np.argsort(values / weights, kind="stable"):
        if values[i] > alpha * weights[i] / left:
            break
        rejected[i] = True
        left -= weights[i]
    return rejected
