"""What a profiler costs, as calibration writes it and replay reads it: values with errors.

The JSON form (`Manifest.calibration`) is the field names of `Calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trace_timing.call_names import CallRole, role_of_call
from trace_timing.records import ProfileMode

CallKind = Literal["launch", "memory", "graph", "sync", "event", "query"]
CALL_KINDS: tuple[CallKind, ...] = CallKind.__args__  # type: ignore[attr-defined]
CALIBRATION_VERSION = 1

_COST_OF_ROLE: Mapping[CallRole, CallKind] = {
    "launch": "launch",
    "graph_launch": "graph",
    "sync": "sync",
    "event": "event",
    **dict.fromkeys(("copy", "blocking_copy", "fill", "alloc", "free"), "memory"),
}


def call_kind(name: str) -> CallKind:
    """Which cost an API call bears, by what its name says that it does.

    The other roles, and a name that is not known, are a `query`: they are many and cheap, and to be
    recorded is most of what they cost.
    """
    return _COST_OF_ROLE.get(role_of_call(name), "query")


@dataclass(frozen=True)
class Estimate:
    """A figure in ns and its standard error. It may be negative: then it is written so."""

    value_ns: float
    se_ns: float

    def __str__(self) -> str:
        return f"{self.value_ns:.0f} ± {1.96 * self.se_ns:.0f} ns"


@dataclass(frozen=True)
class Factor:
    """A ratio, and the standard error of it where it is next applied."""

    value: float
    se: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {1.96 * self.se:.2f}"


@dataclass(frozen=True, kw_only=True)
class ModeCosts:
    """What one profile mode adds, against the same work unprofiled. None: not measured."""

    #: Host time by kind of API call.
    calls: Mapping[CallKind, Estimate]
    cpu_op: Estimate | None = None
    range: Estimate | None = None
    #: Per wait for the device (launch → start and end → return together: only the sum shows).
    wait: Estimate | None = None
    #: Device time per op, and per node of a graph.
    device_op: Estimate | None = None
    graph_node: Estimate | None = None
    #: What the host's costs are in a model's code, against the tight loops they were measured in.
    in_context: Factor | None = None


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """One rung of the ladder: a small loop, unprofiled and profiled, per iteration.

    Loops of model code stand here too; what they add is not fitted but compared with the fit.
    """

    probe: str
    mode: ProfileMode
    unprofiled: Estimate
    added: Estimate
    #: What the fitted costs say that it should have added.
    fitted_ns: float
    #: Recorded events per iteration: calls by kind, cpu_op, range, wait.
    counts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class HardwareRates:
    """What the device reaches on large, simple work: the yardstick of distances to the limit."""

    #: Read and written bytes a second of a copy within the device.
    copy_bytes_per_s: float
    #: Multiplications and additions a second of a large matrix product.
    matmul_flops_per_s: float
    matmul_dtype: str


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The costs of profiling on one machine, and what they were measured with."""

    version: int = CALIBRATION_VERSION
    modes: Mapping[ProfileMode, ModeCosts]
    #: Device, driver, torch, CUDA, CUPTI: costs are not applied across a difference unsaid.
    environment: Mapping[str, Any] = field(default_factory=dict)
    #: Where the costs come from: `ladder`, or `pairs` of one model (which cannot tell them apart).
    source: Literal["ladder", "pairs"] = "ladder"
    measured_unix_s: int | None = None
    took_s: float | None = None
    #: Launch → start and op end → return as the profiler shows them (median), by mode.
    seen_launch_to_start: Mapping[ProfileMode, Estimate] = field(default_factory=dict)
    seen_end_to_return: Mapping[ProfileMode, Estimate] = field(default_factory=dict)
    #: Launch → kernel → return of an empty stream, unprofiled: what the two sum to, and the calls.
    roundtrip: Estimate | None = None
    #: Host time of one event record: what a control's mark costs it.
    control_mark: Estimate | None = None
    #: How much slower the unprofiled loops ran after the first session than before it.
    lasting_frac: float | None = None
    ladder: tuple[Ladder, ...] = ()
    #: None where it was not measured.
    rates: HardwareRates | None = None
    #: What could not be measured, and why.
    missing: tuple[str, ...] = ()
