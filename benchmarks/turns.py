"""How much the runs of processes that take turns differ from each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from trace_timing.records.runs import ControlTimes
from trace_timing.stats.latency.sample_latency import latency_of_controls
from trace_timing.stats.latency.times import steps_of_control, times_of_control

NAMES = ("T_vision_total", "T_LLM_prefill", "T_LLM_decode", "T_sampling", "T_total")


@dataclass(frozen=True)
class Turns:
    """Controls of this process, and runs of two that never profile, made in turn."""

    own: list[ControlTimes]
    others: list[list[ControlTimes]]


def against(labels: Sequence[Turns]) -> dict[str, Any]:
    """This process's labels ÷ the other two's, and of these the first ÷ the second: what labels
    of two processes that never profile differ by.

    Returns:
        By time of the sample table, for each label: `ratio` of the middle means (the other two's
        taken together as their geometric mean), `pairs` the mean log ratio of runs made in turn
        with its 95 % interval by Student's t, `holds_1` whether that holds 1.
    """
    both: dict[str, Any] = {"label_over_truth": {}, "truth_over_truth": {}}
    for name in NAMES:
        for turns in labels:
            own, first, second = ([times_of_control(c)[name] for c in s] for s in sides(turns))
            if not all(own) or not all(first) or not all(second):
                continue
            middle = [latency_of_controls(s, None).ns[name] for s in sides(turns)]
            truth = [math.sqrt(a * b) for a, b in zip(first, second, strict=True)]
            whole = math.sqrt(middle[1] * middle[2])
            for kind, ratio, above, below in (
                ("label_over_truth", middle[0] / whole, own, truth),
                ("truth_over_truth", middle[1] / middle[2], first, second),
            ):
                found = both[kind].setdefault(name, [])
                found.append({"ratio": rounded(ratio), **of_pairs(above, below)})
    return both


def steady(labels: Sequence[Turns]) -> dict[str, Any]:
    """The same ratios of all runs of a model together: of their medians, and of the quickest
    tenths, which neighbours on the machine move least."""
    found: dict[str, Any] = {}
    for name in NAMES:
        every = [
            [ns for turns in labels for c in sides(turns)[i] if (ns := times_of_control(c)[name])]
            for i in range(3)
        ]
        if not all(every):
            continue
        for kind, share in (("median", 0.5), ("quickest_tenth", 0.1)):
            own, first, second = (float(np.quantile(np.array(side), share)) for side in every)
            found.setdefault(f"{kind}_label_over_truth", {})[name] = rounded(
                own / math.sqrt(first * second)
            )
            found.setdefault(f"{kind}_truth_over_truth", {})[name] = rounded(first / second)
    return found


def sides(turns: Turns) -> tuple[list[ControlTimes], ...]:
    """This process's runs and the other two's."""
    return turns.own, *turns.others


def of_pairs(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """Mean ratio of pairs with its interval."""
    middle, low, high = mean_ratio([math.log(a / b) for a, b in zip(above, below, strict=True)])
    return {"pairs": [middle, low, high], "holds_1": low <= 1 <= high}


def mean_ratio(logs: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios and its 95 % interval, by Student's t on their logarithms."""
    values = np.array(logs)
    half = special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))
    mean = float(values.mean())
    return tuple(rounded(math.exp(v)) for v in (mean, mean - half, mean + half))  # type: ignore[return-value]


def detached(rounds: Sequence[Turns]) -> dict[str, Any] | None:
    """Tenth percentiles of steps, detached ÷ never profiled, by round and over rounds; and of
    the two that never profile, one ÷ the other."""
    if not rounds:
        return None
    quicks = [
        [quick([ns for c in s for ns in steps_of_control(c)]) for s in sides(t)] for t in rounds
    ]
    found = {}
    for kind, logs in (
        ("detached", [math.log(own / math.sqrt(a * b)) for own, a, b in quicks]),
        ("truth_over_truth", [math.log(a / b) for _, a, b in quicks]),
    ):
        middle, low, high = mean_ratio(logs)
        each = [rounded(math.exp(v)) for v in logs]
        found[kind] = {"rounds": each, "ratio": middle, "interval": [low, high]}
    return found


def quick(steps: Sequence[int]) -> float:
    """Tenth percentile."""
    return float(np.quantile(np.array(steps, np.float64), 0.1))


def rounded(value: Any) -> float:
    """Four digits after the point: these are ratios and milliseconds."""
    return round(float(value), 4)
