"""Plan which decode steps of a generate() are recorded: stretches of a few, spread over all of it.

Decode steps hardly differ except by the length of the cache, so a few show what all consist of;
controls time every step. A stretch after a gap begins with a guard step, which is recorded but not
counted, because work launched before it still runs in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

#: Default number of recorded steps of a run.
RECORD_STEPS = 32
#: Steps of a stretch: enough to see one begin where another ends.
STRETCH = 4
#: Fewest steps of a gap. Fewer are recorded: switching off and on costs 0.15 ms, and the guard step
#: takes nearly as much of the trace as they do.
LEAST_GAP = 2

StepState = Literal["recorded", "guard", "off"]
#: First and last step.
Stretch = tuple[int, int]


@dataclass(frozen=True)
class StepPlan:
    """The stretches of counted steps, in order, at least one; other steps are guards or gaps."""

    stretches: tuple[Stretch, ...]
    #: Steps that the run is expected to make; None where unknown.
    expected: int | None = None
    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", [first for first, _ in self.stretches])

    def state(self, step: int) -> StepState:
        """The state of a step, counted from 1; steps after the last stretch are off."""
        place = bisect_right(self._starts, step) - 1
        if place >= 0 and step <= self.stretches[place][1]:
            return "recorded"
        # After a recorded step no guard is needed: no unrecorded work runs in it.
        return "guard" if step + 1 in self._starts else "off"

    @property
    def recorded(self) -> int:
        """How many steps are recorded and counted."""
        return sum(last - first + 1 for first, last in self.stretches)

    def as_dict(self) -> dict[str, Any]:
        """For a run's record."""
        return {"expected": self.expected, "stretches": [list(one) for one in self.stretches]}


def plan_steps(expected: int | None, wanted: int) -> StepPlan | None:
    """Plan `wanted` of the expected steps, the first and last included; None: all are recorded.

    Where the number of steps is unknown, the first half of those wanted is one stretch, and the
    other stretches lie further and further apart.
    """
    if expected is None:
        return StepPlan(_from_the_start(wanted))
    if expected <= wanted:
        return None
    stretches = _joined(_spread(expected, wanted))
    return None if stretches == ((1, expected),) else StepPlan(stretches, expected)


def _spread(expected: int, wanted: int) -> list[Stretch]:
    number = max(wanted // STRETCH, min(wanted, 2))
    lengths = [wanted // number + (i < wanted % number) for i in range(number)]
    room = expected - lengths[-1]
    starts = [1 + round(i * room / max(number - 1, 1)) for i in range(number)]
    return [(start, start + length - 1) for start, length in zip(starts, lengths, strict=True)]


def _from_the_start(wanted: int) -> tuple[Stretch, ...]:
    """Stretches for an unknown number of steps."""
    first = max(wanted // 2, 1)
    stretches = [(1, first)]
    left, start = wanted - first, 2 * wanted + 1
    while left > 0:
        stretches.append((start, start + min(STRETCH, left) - 1))
        left, start = left - STRETCH, 2 * (start - 1) + 1
    return _joined(stretches)


def _joined(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Join stretches between which the gap, less its guard step, would be too short."""
    joined = [stretches[0]]
    for (_, end), (start, last) in pairwise(stretches):
        if start - end - 2 < LEAST_GAP:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((start, last))
    return tuple(joined)
