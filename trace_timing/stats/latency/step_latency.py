"""Latency of each decode step of a sample, from its controls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from trace_timing import schema
from trace_timing.arrays import FloatArray
from trace_timing.records.runs import ControlTimes
from trace_timing.stats.latency.evidence import SampleKey
from trace_timing.stats.latency.sample_table import Sample, is_usable
from trace_timing.stats.latency.times import decode_times
from trace_timing.stats.methods import control_mean
from trace_timing.stats.methods.control_mean import PooledSpread
from trace_timing.stats.methods.thinning import thinned

#: A step's latency and the ends of its 95 % interval in ns; no ends where no spread is known.
StepLatency = tuple[int, int | None, int | None]
#: Most samples used for the spread of a step between controls, spread over the capture.
MOST_POOLED = 50


def with_latencies(steps: pa.Table, samples: Sequence[Sample]) -> pa.Table:
    """The table with each step's latency from its sample's controls.

    Samples with controls and no recorded run get rows of their own, recorded figures null.

    Args:
        steps: schema.STEPS of the recorded runs.
        samples: of one analysis.
    """
    known = step_latencies_of(samples)
    by_key = {sample.evidence.key: sample for sample in samples}
    keys = zip(steps["sample_id"].to_pylist(), steps["rank"].to_pylist(), strict=True)
    which = zip(keys, steps["stage"].to_pylist(), steps["step"].to_pylist(), strict=True)
    rows = [
        # A server's prefill is a step too, but no decode step of a sample.
        _columns(by_key.get(key) if stage == "decode" else None, step, known.get(key, {}))
        for key, stage, step in which
    ]
    for name in ("latency_ns", "latency_lo_ns", "latency_hi_ns", "usable", "kv_length"):
        at = steps.schema.get_field_index(name)
        field = schema.STEPS.arrow().field(name)
        steps = steps.set_column(at, field, pa.array([row[name] for row in rows], field.type))
    unrecorded = [
        row
        for sample in samples
        if not sample.evidence.runs
        for row in _unrecorded(sample, known.get(sample.evidence.key, {}))
    ]
    return pa.concat_tables([steps, schema.STEPS.of_rows(unrecorded)])


def step_latencies_of(samples: Sequence[Sample]) -> dict[SampleKey, dict[int, StepLatency]]:
    """Step latencies by sample and step, of the samples whose latency is measured by controls."""
    controls = {s.evidence.key: s.evidence.controls for s in samples if _is_measured(s)}
    usable = [s.evidence.controls for s in samples if _is_measured(s) and is_usable(s)]
    pooled = pooled_step(usable or list(controls.values()))
    return {key: step_latencies(some, pooled) for key, some in controls.items()}


def _is_measured(sample: Sample) -> bool:
    return sample.latency.source in ("control", "attached") and sample.latency.controls > 0


def pooled_step(samples: Sequence[Sequence[ControlTimes]]) -> PooledSpread | None:
    """Pooled spread of one step between controls of a sample; None where no sample has two.

    Args:
        samples: the controls of each.
    """
    some = thinned(samples, MOST_POOLED)
    matrices = [_matrix(controls) for controls in some if len(controls) > 1]
    return control_mean.pooled_spread(
        (times[:, [step]], totals)
        for _, times, totals in matrices
        for step in range(times.shape[1])
        if not np.isnan(times[:, step]).any()
    )


def step_latencies(
    controls: Sequence[ControlTimes], pooled: PooledSpread | None
) -> dict[int, StepLatency]:
    """The mean of the middle controls, step by step.

    Args:
        controls: those of the sample's latency, at least one.
        pooled: from `pooled_step`, one column.
    """
    numbers, times, totals = _matrix(controls)
    if not numbers:
        return {}
    middle = control_mean.mean(times, totals)
    ends = control_mean.interval(times, totals, pooled=pooled)
    low, high = ends if ends else (np.full_like(middle, np.nan),) * 2
    columns = (middle.tolist(), low.tolist(), high.tolist())
    return {
        number: (round(ns), _whole(lo), _whole(hi))
        for number, ns, lo, hi in zip(numbers, *columns, strict=True)
        if not math.isnan(ns)
    }


def _matrix(controls: Sequence[ControlTimes]) -> tuple[list[int], FloatArray, FloatArray]:
    """Numbers of S steps, their times in K controls (K, S), and the controls' totals (K,)."""
    by_control = [decode_times(control) for control in controls]
    numbers = sorted({step for steps in by_control for step in steps})
    times = np.array([[s.get(n, np.nan) for n in numbers] for s in by_control], np.float64)
    return numbers, times, np.array([c.total_ns for c in controls], np.float64)


def _whole(ns: float) -> int | None:
    return None if math.isnan(ns) else round(ns)


def _columns(
    sample: Sample | None, step: int, latencies: Mapping[int, StepLatency]
) -> dict[str, Any]:
    """The columns of one step that come from its sample's controls and record."""
    latency, low, high = latencies.get(step, (None,) * 3) if sample else (None,) * 3
    record = sample.evidence.record if sample else None
    tokens = record.tokens_in if record else None
    return {
        "latency_ns": latency,
        "latency_lo_ns": low,
        "latency_hi_ns": high,
        "usable": sample is not None and latency is not None and is_usable(sample),
        "kv_length": None if tokens is None else tokens + step,
    }


def _unrecorded(sample: Sample, latencies: Mapping[int, StepLatency]) -> list[dict[str, Any]]:
    return [
        {
            "sample_id": sample.evidence.key[0],
            "repeat": 0,
            "rank": sample.evidence.key[1],
            "stage": "decode",
            "step": step,
            "recorded": False,
            "unrecorded_reason": "no_recorded_run",
            "clock": sample.evidence.clock,
            **_columns(sample, step, latencies),
        }
        for step in latencies
    ]
