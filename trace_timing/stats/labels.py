"""Rows to train latency models on: features, targets, intervals, and whether to trust each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from trace_timing import schema
from trace_timing.records import RunRecord
from trace_timing.stats.bootstrap import LEVEL
from trace_timing.stats.scaling import LineFit, fit_line
from trace_timing.stats.summaries import causes, outliers
from trace_timing.units import NS_PER_MS, FloatArray

#: Targets of a sample, from schema.SAMPLES; decode is per step, so it fits any output length.
TARGETS = (
    "T_vision_total",
    "T_LLM_prefill",
    "T_decode_per_token",
    "T_sampling",
    "T_rest",
    "T_total",
)
#: A doubt of these codes spoils the times themselves; others qualify how to read them.
SPOILING = {
    "law_broken",
    "lost_ops",
    "corrupt_durations",
    "no_stage_ranges",
    "launch_missing",
    "overlapping_runs",
    "clock_host",
}
_RUN = ["sample_id", "repeat", "rank"]
#: Below this no interval is given: nothing says how the repeats vary.
FEWEST_REPEATS = 3


@dataclass(frozen=True)
class LabelTables:
    """`samples`: a row a sample. `steps`: a row a run and decode step. Times in ms (float).

    Both have `usable` and `reasons` (comma-separated, empty where usable). In `samples` each
    target has `_lo_ms` and `_hi_ms`: 95 % by Student's t over repeats, null below three. A sample
    without a decode step is usable for all but decode: `usable_decode` says so.
    """

    samples: pd.DataFrame
    steps: pd.DataFrame


def label_rows(
    samples: pd.DataFrame, steps: pd.DataFrame, records: Sequence[RunRecord] = ()
) -> LabelTables:
    """Training rows from the tables of an analysis.

    Args:
        samples, steps: schema.SAMPLES (with metadata columns) and STEPS.
        records: run records; with them, an outlier among a sample's repeats whose machine state
            explains it is left out of that sample's medians, and named in its reasons.
    """
    samples = samples[samples["sample_id"].notna()].copy()
    samples["_reasons"] = _run_reasons(samples, records)
    rows = [_sample_row(str(i), group) for i, group in samples.groupby("sample_id", sort=False)]
    return LabelTables(pd.DataFrame(rows), _step_rows(samples, steps))


def _run_reasons(samples: pd.DataFrame, records: Sequence[RunRecord]) -> pd.Series[str]:
    known = causes(records)
    far = samples.groupby("sample_id")["T_total_ms"].transform(
        lambda values: outliers(np.asarray(values, np.float64))
    )
    reasons = []
    for row, outlier in zip(samples.to_dict("records"), far, strict=True):
        said = sorted(SPOILING & set(str(row["doubts"] or "").split(",")))
        if not row["laws_hold"] and "law_broken" not in said:
            said.append("law_broken")
        key = (str(row["sample_id"]), _whole(row["repeat"]) or 0, int(row["rank"]))
        if outlier:
            said += [f"outlier_{cause}" for cause in known.get(key, ())]
        reasons.append(",".join(said))
    return pd.Series(reasons, index=samples.index, dtype=object)


def _metadata(samples: pd.DataFrame) -> list[str]:
    own = [n for n in samples.columns if n not in schema.SAMPLES.names and n != "_reasons"]
    return [str(name) for name in own]


def _sample_row(sample_id: str, runs: pd.DataFrame) -> dict[str, object]:
    good = runs[runs["_reasons"] == ""]
    used = good if len(good) else runs
    first = used.iloc[0]
    usable, has_steps = len(good) > 0, bool((used["decode_steps"] > 0).all())
    excluded = {part for text in runs["_reasons"] for part in text.split(",") if part}
    reasons = sorted(excluded) + ([] if has_steps else ["no_decode_step"])
    row: dict[str, object] = {"sample_id": sample_id}
    row |= {name: first[name] for name in _metadata(runs)}
    row |= {name: _whole(first[name]) for name in ("input_tokens", "output_tokens")}
    row |= {"decode_steps": int(first["decode_steps"]), "repeats": len(used)}
    for target in TARGETS:
        row |= _target(target, used)
    row |= {"usable": usable, "usable_decode": usable and has_steps, "reasons": ",".join(reasons)}
    return row


def _target(name: str, runs: pd.DataFrame) -> dict[str, float]:
    """Median over repeats of window, busy and corrected time, and the interval of each mean."""
    found = {}
    for kind in ("", "_busy", "_corrected"):
        values = np.asarray(runs[f"{name}{kind}_ms"].astype(float), np.float64)
        values = values[np.isfinite(values)]
        low, high = _interval(values)
        found[f"{name}{kind}_ms"] = float(np.median(values)) if len(values) else float("nan")
        found[f"{name}{kind}_lo_ms"], found[f"{name}{kind}_hi_ms"] = low, high
    return found


def _interval(values: FloatArray) -> tuple[float, float]:
    n = len(values)
    if n < FEWEST_REPEATS:
        return float("nan"), float("nan")
    # Student's t and no bootstrap: three repeats of two thousand samples would take minutes.
    half = special.stdtrit(n - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(n)
    return float(values.mean() - half), float(values.mean() + half)


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _step_rows(samples: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    features = [*_RUN, "input_tokens", *_metadata(samples), "_reasons"]
    rows = steps[steps["stage"] == "decode"].merge(samples[features], on=_RUN)
    table = rows[[*_RUN, "input_tokens", *_metadata(samples), "step"]].copy()
    table["position"] = table["step"]
    # The prompt, and the tokens generated so far: what this step's attention reads.
    table["kv_length"] = table["input_tokens"] + table["step"]
    for name in ("window", "busy", "interval", "corrected", "corrected_lo", "corrected_hi"):
        table[f"{name}_ms"] = rows[f"{name}_ns"].astype("Float64").astype(float) / NS_PER_MS
    table["usable"] = rows["_reasons"] == ""
    table["reasons"] = rows["_reasons"]
    return table


def scaling_fits(labels: LabelTables) -> dict[str, LineFit | None]:
    """Prefill against input tokens, a decode step against position and KV length; usable rows."""
    samples, steps = (t[t["usable"]] for t in (labels.samples, labels.steps))
    return {
        "T_LLM_prefill_ms ~ input_tokens": _fit(samples, "input_tokens", "T_LLM_prefill_ms"),
        "window_ms ~ position": _fit(steps, "position", "window_ms"),
        "window_ms ~ kv_length": _fit(steps, "kv_length", "window_ms"),
    }


def _fit(table: pd.DataFrame, x: str, y: str) -> LineFit | None:
    columns = (pd.to_numeric(table[name], errors="coerce").astype("Float64") for name in (x, y))
    a, b = (np.asarray(c.astype(float), np.float64) for c in columns)
    return fit_line(a, b)
