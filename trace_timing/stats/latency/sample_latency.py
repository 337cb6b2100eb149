"""The latency of a sample's stages, by the best evidence that it has.

Measured without the profiler where the sample has controls; else its recorded windows, scaled by
control ÷ recorded of other samples; else the recorded windows themselves, which include the cost of
recording. The profiler's cost is not modelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from trace_timing import schema
from trace_timing.arrays import FloatArray
from trace_timing.records.runs import ControlTimes
from trace_timing.stats.latency.times import Times, aligned, steps_of_control, times_of_control
from trace_timing.stats.methods import control_mean
from trace_timing.stats.methods.control_mean import PooledSpread
from trace_timing.stats.methods.envelope import undisturbed

LatencySource = Literal["control", "scaled", "attached", "recorded"]
#: What the 95 % interval was made from.
IntervalFrom = Literal["controls", "pooled", "leave one out", "busy to recorded"]
NAMES = tuple(schema.SAMPLE_TIMES)
#: Largest half-width of the controls' interval, as a share of the total, at which it is a label;
#: beyond, the true value may be 1.6 times the figure.
BOUND_FRAC = 0.5
#: Fewest steps for a tenth percentile; of fewer it is their minimum.
LEAST_STEPS_FOR_ENVELOPE = 10
NO_TIMES: Times = dict.fromkeys(NAMES)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One sample's times in ns, with their intervals and source."""

    source: LatencySource
    ns: Times
    lo_ns: Times
    hi_ns: Times
    interval_from: IntervalFrom | None = None
    #: Number of controls it was made from, of which those in the middle are averaged.
    controls: int = 0
    #: Tenth percentile over the controls' steps.
    undisturbed_step_ns: float | None = None
    #: Codes of the reasons that qualify it or make it no label.
    reasons: tuple[str, ...] = ()

    @property
    def half_width_frac(self) -> float | None:
        """Half the width of the total's interval ÷ the total."""
        return half_width_frac(self, "T_total")


def half_width_frac(latency: Latency, name: str) -> float | None:
    """Half the width of one time's interval ÷ the time; None where either is not known."""
    middle, low, high = latency.ns[name], latency.lo_ns[name], latency.hi_ns[name]
    if not middle or low is None or high is None:
        return None
    return (high - low) / 2 / middle


def pooled_of(samples: Sequence[Sequence[ControlTimes]]) -> PooledSpread | None:
    """Spread of controls within a sample, pooled over the capture; None where none has two.

    Args:
        samples: the controls of each sample.
    """
    return control_mean.pooled_spread(_matrix(controls) for controls in samples if controls)


def latency_of_controls(
    controls: Sequence[ControlTimes], pooled: PooledSpread | None, *, sequential: bool = False
) -> Latency:
    """The mean of the middle controls, with its interval.

    Args:
        controls: at least one, in the order made; all or none of them with segments.
        pooled: the capture's; with fewer than three controls the interval is from it alone.
        sequential: controls were added until the interval was narrow enough.
    """
    stages, totals = _matrix(controls)
    ends = control_mean.interval(stages, totals, pooled=pooled, sequential=sequential)
    low, high = ends if ends else (None, None)
    own = len(controls) >= control_mean.FEWEST
    steps = [ns for control in controls for ns in steps_of_control(control)]
    attached = any(control.cupti == "attached" for control in controls)
    whole = not any(control.segments for control in controls)
    latency = Latency(
        source="attached" if attached else "control",
        ns=_times(control_mean.mean(stages, totals)),
        lo_ns=_times(low),
        hi_ns=_times(high),
        interval_from=None if ends is None else "controls" if own else "pooled",
        controls=len(controls),
        undisturbed_step_ns=undisturbed(steps) if len(steps) >= LEAST_STEPS_FOR_ENVELOPE else None,
        reasons=(*(["controls_attached"] * attached), *(["no_stage_times"] * whole)),
    )
    half = latency.half_width_frac
    if half is None or half <= BOUND_FRAC:
        return latency
    return replace(latency, reasons=(*latency.reasons, "controls_interval_wide"))


def latency_as_recorded(recorded: Times, busy: Times) -> Latency:
    """The recorded windows as latency, with an interval from the busy time to the window.

    Args:
        busy: all None where the trace has no device timeline, which leaves no interval.
    """
    known = busy["T_total"] is not None
    return Latency(
        source="recorded",
        ns=dict(recorded),
        lo_ns=dict(busy) if known else dict(NO_TIMES),
        hi_ns=dict(recorded) if known else dict(NO_TIMES),
        interval_from="busy to recorded" if known else None,
        reasons=("no_control",),
    )


def counted_controls(controls: Sequence[ControlTimes]) -> list[ControlTimes]:
    """The controls that are averaged: the middle ones by total, in the order made."""
    totals = np.array([control.total_ns for control in controls])
    return [controls[i] for i in sorted(control_mean.kept(totals).tolist())]


def _matrix(controls: Sequence[ControlTimes]) -> tuple[FloatArray, FloatArray]:
    """(K, S) times in the order of NAMES, NaN for absent ones, and (K,) totals."""
    rows = aligned([times_of_control(control) for control in controls])
    stages = np.array([[row[name] for name in NAMES] for row in rows], np.float64)
    return stages, np.array([control.total_ns for control in controls], np.float64)


def _times(values: FloatArray | None) -> Times:
    if values is None:
        return dict(NO_TIMES)
    return {n: None if np.isnan(v) else float(v) for n, v in zip(NAMES, values, strict=True)}
