"""How many controls and recorded runs each sample gets, and what that comes to for a capture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Without a number of their own: so many controls a sample, and of every tenth so many, from which
#: the capture's within-sample spread is known.
FEW, MANY, EVERY_TENTH = 2, 5, 10
MOST_CONTROLS = 30

#: Whether these totals (ns, in the order made) tell the sample's latency well enough.
Enough = Callable[[Sequence[int]], bool]


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Runs of each sample; `index` counts samples from 0, in the order of the capture."""

    #: Of every sample; None for `FEW`, and `MANY` of every tenth.
    control: int | None = None
    record_every: int = 1
    most_controls: int = MOST_CONTROLS

    def controls(self, index: int) -> int:
        """Controls of a sample, its bare one apart."""
        if self.control is not None:
            return self.control
        return FEW if index % EVERY_TENTH else MANY

    def is_bare_due(self, index: int) -> bool:
        """Whether a sample gets one more control, without hooks: every tenth does.

        Its total against the others' shows what hooks and events cost.
        """
        return index % EVERY_TENTH == 0 and self.controls(index) > 0

    def is_recorded(self, index: int) -> bool:
        """Whether a sample gets a recorded run."""
        return index % self.record_every == 0


@dataclass(frozen=True, kw_only=True)
class CallCount:
    """generate() calls of a capture, warm-up of new input shapes and retries apart."""

    samples: int
    controls: int
    recorded: int
    #: Controls where each sample goes on to the most; equal to `controls` without a precision.
    most_controls: int

    @property
    def calls(self) -> int:
        """Calls in all, at least."""
        return self.controls + self.recorded

    @property
    def most_calls(self) -> int:
        """Calls in all, at most."""
        return self.most_controls + self.recorded


def count_calls(
    plan: RunPlan,
    controls_of: Sequence[int],
    recorded: int,
    *,
    samples: int,
    precise: bool,
) -> CallCount:
    """Count the calls that are to be made.

    Args:
        controls_of: indices of the samples whose controls are to be made.
        recorded: recorded runs to be made, over all repeats.
        precise: whether controls go on until they are precise enough.
    """
    bare = sum(plan.is_bare_due(index) for index in controls_of)
    planned = [plan.controls(index) for index in controls_of]
    most = [max(number, plan.most_controls) if precise and number else number for number in planned]
    return CallCount(
        samples=samples,
        controls=sum(planned) + bare,
        recorded=recorded,
        most_controls=sum(most) + bare,
    )
