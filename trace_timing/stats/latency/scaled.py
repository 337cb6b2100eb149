"""Latencies of samples without controls, scaled from their recorded windows.

A stage's recorded window × the median of control ÷ recorded over the samples that have both. The
interval comes from leaving each of those samples out and predicting it from the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np

from trace_timing.arrays import FloatArray
from trace_timing.stages import Stage
from trace_timing.stats.latency.sample_latency import NAMES, NO_TIMES, Latency
from trace_timing.stats.latency.times import Times, times_of_stages
from trace_timing.stats.methods.student import student_quantile
from trace_timing.stats.methods.thinning import thinned

#: Fewest samples with both for an interval.
FEWEST = 3
#: Most samples used for the factors, spread over the capture; more hardly move the median.
MOST = 200
#: Largest half-width of a scaled total's interval, as a share of it, at which it is a label.
BOUND_FRAC = 0.10
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Ns by stage between a control's boundaries, the number of steps, and time to first token.

    Of one run, or the means over several of one sample. For a partly recorded run, and a control
    compared with it, these are of the recorded steps, and `whole` is of all.
    """

    by_stage: Mapping[Stage, float]
    steps: int
    ttft_ns: float | None = None
    whole: Cut | None = None

    @property
    def of_all(self) -> Cut:
        """The cut of all steps."""
        return self.whole or self


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Control ÷ recorded by stage, and how far predictions by it were off."""

    factors: Mapping[Stage, float]
    ttft: float | None
    total: float
    #: Time → half-width of the 95 % interval of log(true ÷ predicted); empty below FEWEST.
    half_log: Mapping[str, float]
    samples: int


def fit_scale(pairs: Sequence[tuple[Cut, Cut]]) -> Scale | None:
    """Fit the factors to (recorded, control) of each sample that has both; None without any."""
    usable = [
        (recorded, _of_length(control, recorded.steps))
        for recorded, control in thinned(pairs, MOST)
        if _total(recorded) > 0 and _total(control) > 0
    ]
    if not usable:
        return None
    whole = _factors(usable)
    return Scale(
        factors=whole[0],
        ttft=whole[1],
        total=whole[2],
        half_log=_half_logs(usable) if len(usable) >= FEWEST else {},
        samples=len(usable),
    )


def scaled_latency(recorded: Cut, scale: Scale) -> Latency:
    """A sample's latency from its recorded windows; T_total is the sum of its stages.

    Factors come from recorded steps and the same steps of controls, and are applied to all steps. A
    stage that no other sample has takes the factor of the totals.
    """
    times = _predicted(recorded.of_all, scale.factors, scale.ttft, scale.total)
    ends = {
        n: (v * exp(-scale.half_log[n]), v * exp(scale.half_log[n]))
        for n, v in times.items()
        if v is not None and n in scale.half_log
    }
    return Latency(
        source="scaled",
        ns=times,
        lo_ns={n: ends[n][0] if n in ends else None for n in NAMES},
        hi_ns={n: ends[n][1] if n in ends else None for n in NAMES},
        interval_from="leave one out" if ends else None,
        reasons=_too_wide(scale.half_log.get("T_total")),
    )


def scaled_by_total(recorded: Cut, control: Latency) -> Latency:
    """Latency of a model over several devices: the controls' total, divided as the recorded stages.

    Args:
        control: T_total and its interval; its source carries over if a profiler was attached.
    """
    recorded = recorded.of_all
    whole, total = _total(recorded), control.ns["T_total"]
    if not whole or total is None:
        return control
    times = _predicted(recorded, {}, total / whole, total / whole)
    low, high = control.lo_ns["T_total"], control.hi_ns["T_total"]
    half = log(high / low) / 2 if low and high else None
    attached = control.source == "attached"
    further = ("controls_attached",) if attached else _too_wide(half)
    return replace(
        control,
        source="attached" if attached else "scaled",
        ns=times,
        lo_ns=_times_factor(times, None if half is None else exp(-half)),
        hi_ns=_times_factor(times, None if half is None else exp(half)),
        reasons=("scaled_by_total", *further),
    )


def _too_wide(half: float | None) -> tuple[str, ...]:
    if half is None:
        return ("scaled_without_interval",)
    return ("scaled_interval_wide",) if half > BOUND_FRAC else ()


def _times_factor(times: Times, factor: float | None) -> Times:
    if factor is None:
        return dict(NO_TIMES)
    return {n: None if v is None else v * factor for n, v in times.items()}


def _predicted(
    recorded: Cut, factors: Mapping[Stage, float], ttft: float | None, total: float
) -> Times:
    by_stage = {s: ns * factors.get(s, total) for s, ns in recorded.by_stage.items()}
    times = times_of_stages(by_stage, recorded.steps)
    known = recorded.ttft_ns is not None and ttft is not None
    return {**times, "T_TTFT": recorded.ttft_ns * ttft if known else None}  # type: ignore[operator]


def _factors(pairs: Sequence[tuple[Cut, Cut]]) -> tuple[dict[Stage, float], float | None, float]:
    """Medians of control ÷ recorded: by stage, of the time to first token, of the totals."""
    ratios: dict[Stage, list[float]] = {}
    for recorded, control in pairs:
        for stage, ns in recorded.by_stage.items():
            there = control.by_stage.get(stage)
            if ns > 0 and there:
                ratios.setdefault(stage, []).append(there / ns)
    first = [c.ttft_ns / r.ttft_ns for r, c in pairs if r.ttft_ns and c.ttft_ns]
    totals = [_total(control) / _total(recorded) for recorded, control in pairs]
    return (
        {stage: float(np.median(values)) for stage, values in ratios.items()},
        float(np.median(first)) if first else None,
        float(np.median(totals)),
    )


def _of_length(run: Cut, steps: int) -> Cut:
    """The run scaled to this number of steps, so that runs of different length compare."""
    by_stage = dict(run.by_stage)
    if steps == run.steps:
        return run
    if run.steps and "decode" in by_stage:
        by_stage["decode"] *= steps / run.steps
    if "sampling" in by_stage:
        by_stage["sampling"] *= (steps + 1) / (run.steps + 1)
    return replace(run, by_stage=by_stage, steps=steps)


def _half_logs(pairs: Sequence[tuple[Cut, Cut]]) -> dict[str, float]:
    """Half-widths of prediction intervals, from leaving each sample out."""
    errors: dict[str, list[float]] = {name: [] for name in NAMES}
    for left_out, (recorded, control) in enumerate(pairs):
        others = [pair for i, pair in enumerate(pairs) if i != left_out]
        predicted = _predicted(recorded.of_all, *_factors(others))
        whole = _of_length(control.of_all, recorded.of_all.steps)
        true = {**times_of_stages(whole.by_stage, whole.steps), "T_TTFT": control.ttft_ns}
        for name in NAMES:
            p, t = predicted[name], true[name]
            if p and t:
                errors[name].append(log(t / p))
    halves = {name: _half(np.array(e)) for name, e in errors.items() if len(e) >= FEWEST}
    return {name: half for name, half in halves.items() if np.isfinite(half)}


def _half(errors: FloatArray) -> float:
    """Half-width of the 95 % interval about 0 for one more error, by Student's t."""
    n = len(errors)
    spread = float(np.sqrt((errors**2).sum() / (n - 1)))
    return student_quantile(n - 1, (1 + _LEVEL) / 2) * spread * float(np.sqrt(1 + 1 / n))


def _total(run: Cut) -> float:
    return sum(run.by_stage.values())
