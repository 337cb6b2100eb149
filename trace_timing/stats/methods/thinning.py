"""Take some of many items, from all kinds that take turns among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

#: Its multiples, taken modulo 1, fill every interval evenly, and so do those of every k-th.
_GOLDEN = (5**0.5 - 1) / 2


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, in order, the same each time.

    Every k-th would be of one kind where samples go round a grid of settings of k, or of a multiple
    or divisor of it.
    """
    return [items[at] for at in thinned_places(len(items), most).tolist()]


def thinned_places(count: int, most: int) -> NDArray[np.intp]:
    """Places of at most `most` of `count` items, ascending."""
    turns = np.arange(count) * _GOLDEN % 1.0
    return np.sort(np.argsort(turns, kind="stable")[:most])
