"""Times are integer nanoseconds inside; they become milliseconds once, here, for people."""

from __future__ import annotations

from typing import overload

from trace_timing.arrays import FloatArray, IntArray

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


@overload
def ms_from_ns(ns: int) -> float: ...
@overload
def ms_from_ns(ns: None) -> None: ...
@overload
def ms_from_ns(ns: IntArray) -> FloatArray: ...
def ms_from_ns(ns: int | IntArray | None) -> float | FloatArray | None:
    """Milliseconds of integer nanoseconds; None stays None."""
    return None if ns is None else ns / NS_PER_MS


def ns_from_ms(ms: float) -> int:
    """Nearest whole nanosecond of a float in milliseconds (CUDA events report such floats)."""
    return round(ms * NS_PER_MS)
