"""How many controls and recorded runs each sample gets, and the number of calls of a capture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Default number of controls: FEW for each sample, MANY for every tenth, whose spread is then known
#: for the whole capture.
FEW, MANY, EVERY_TENTH = 2, 5, 10
MOST_CONTROLS = 30

#: Whether totals (ns, in the order made) give the sample's latency precisely enough.
Enough = Callable[[Sequence[int]], bool]


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Which runs each sample gets; `index` counts samples from 0, in the order of the capture."""

    #: Controls of every sample; None for FEW, and MANY of every tenth.
    control: int | None = None
    record_every: int = 1
    most_controls: int = MOST_CONTROLS

    def controls(self, index: int) -> int:
        """Number of controls of a sample, not counting its bare one."""
        if self.control is not None:
            return self.control
        return FEW if index % EVERY_TENTH else MANY

    def is_bare_due(self, index: int) -> bool:
        """Whether a sample gets a bare control too, without hooks: every tenth does.

        Compared with the others' totals it shows the cost of hooks and events.
        """
        return index % EVERY_TENTH == 0 and self.controls(index) > 0

    def is_recorded(self, index: int) -> bool:
        """Whether a sample gets a recorded run."""
        return index % self.record_every == 0


@dataclass(frozen=True, kw_only=True)
class CallCount:
    """Numbers of generate() calls of a capture, without warm-up and retries."""

    samples: int
    controls: int
    recorded: int
    #: Controls if every sample takes the most allowed; equal to `controls` without a precision.
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
    """Count the calls of a capture in advance.

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
