"""When a process is warm: run until the last runs agree, and say whether they came to.

The rule: at least `LEAST` runs, then until the last `WINDOW` totals lie within `SPREAD` of their
median, at most `MOST` runs. It is recorded with the totals, steady or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

LEAST = 3
WINDOW = 3
MOST = 10
SPREAD = 0.05


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How the warm-up of a process went."""

    totals_ns: tuple[int, ...]
    steady: bool
    rule: str = (
        f"last {WINDOW} of at least {LEAST} runs within {SPREAD:.0%} of their median, "
        f"at most {MOST} runs"
    )


def warm_up(run: Callable[[], int]) -> WarmUp:
    """Call `run` (which returns its total in ns) until it is steady."""
    totals: list[int] = []
    while len(totals) < MOST:
        totals.append(run())
        if len(totals) >= LEAST and is_steady(totals[-WINDOW:]):
            break
    return WarmUp(totals_ns=tuple(totals), steady=is_steady(totals[-WINDOW:]))


def is_steady(totals: Sequence[int]) -> bool:
    """Whether a window of totals lies within `SPREAD` of its median."""
    return max(totals) - min(totals) <= SPREAD * median(totals)
