"""Rows to train latency models on: features, targets, intervals, and whether to trust each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trace_timing import schema
from trace_timing.records import RunRecord
from trace_timing.stats.intervals import LEVEL
from trace_timing.stats.outliers import causes, outliers
from trace_timing.units import NS_PER_MS

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
    target has `_lo_ms` and `_hi_ms`: 95 % by Student's t over repeats, null below three.
    A sample without a decode step is usable for all but decode: `usable_decode` says so.
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
    judged = with_reasons(samples, records)
    return LabelTables(_sample_rows(judged), step_rows(judged, steps))


def with_reasons(samples: pd.DataFrame, records: Sequence[RunRecord] = ()) -> pd.DataFrame:
    """The runs that belong to a sample, with `_reasons` against each (comma-separated)."""
    samples = samples[samples["sample_id"].notna()].copy()
    samples["_reasons"] = _run_reasons(samples, records)
    return samples


def _run_reasons(samples: pd.DataFrame, records: Sequence[RunRecord]) -> pd.Series[str]:
    known = causes(records)
    totals = samples["T_total_ms"].astype(float)
    repeated = totals.groupby(samples["sample_id"]).transform("size") >= FEWEST_REPEATS
    far = pd.Series(False, index=samples.index)
    for _, values in totals[repeated].groupby(samples["sample_id"]):
        far[values.index] = outliers(np.asarray(values, np.float64))
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


def _sample_rows(runs: pd.DataFrame) -> pd.DataFrame:
    good = runs["_reasons"] == ""
    any_good = good.groupby(runs["sample_id"]).transform("any")
    used = runs[good | ~any_good]
    by_sample = used.groupby("sample_id", sort=False)
    table = by_sample[[*_metadata(runs), "input_tokens", "output_tokens", "decode_steps"]].first()
    table["repeats"] = by_sample.size()
    targets = [_target(used, f"{name}{kind}") for name in TARGETS for kind in ("", "_busy")]
    table = pd.concat([table, *targets], axis=1)
    has_steps = by_sample["decode_steps"].min() > 0
    table["usable"] = any_good.groupby(runs["sample_id"]).first()
    table["usable_decode"] = table["usable"] & has_steps
    said = runs.groupby("sample_id", sort=False)["_reasons"].agg(_distinct)
    table["reasons"] = [
        ",".join([*found, *([] if steps else ["no_decode_step"])])
        for found, steps in zip(said[table.index], has_steps[table.index], strict=True)
    ]
    return table.reset_index()


def _distinct(texts: pd.Series[str]) -> list[str]:
    return sorted({part for text in texts for part in text.split(",") if part})


def _target(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """Median over a sample's repeats, and the interval of the mean, a row a sample."""
    from scipy import special  # slow to load, and most analyses need none of it

    values = runs[f"{name}_ms"].astype(float)
    by_sample = values.groupby(runs["sample_id"], sort=False)
    n, mean = by_sample.count(), by_sample.mean()
    # Student's t and no bootstrap: three repeats of two thousand samples would take minutes.
    quantile = special.stdtrit(np.maximum(n - 1, 1), (1 + LEVEL) / 2)
    half = (quantile * by_sample.std() / np.sqrt(n)).where(n >= FEWEST_REPEATS)
    return pd.DataFrame(
        {
            f"{name}_ms": by_sample.median(),
            f"{name}_lo_ms": mean - half,
            f"{name}_hi_ms": mean + half,
        }
    )


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def step_rows(samples: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """A row a run and decode step: position, cache length, times, whether usable.

    Args:
        samples: runs, from with_reasons.
    """
    features = [*_RUN, "input_tokens", *_metadata(samples), "_reasons"]
    rows = steps[steps["stage"] == "decode"].merge(samples[features], on=_RUN)
    table = rows[[*_RUN, "input_tokens", *_metadata(samples), "step"]].copy()
    table["position"] = table["step"]
    # The prompt, and the tokens generated so far: what this step's attention reads.
    table["kv_length"] = table["input_tokens"] + table["step"]
    for name in ("window", "busy", "interval"):
        table[f"{name}_ms"] = rows[f"{name}_ns"].astype("Float64").astype(float) / NS_PER_MS
    table["usable"] = rows["_reasons"] == ""
    table["reasons"] = rows["_reasons"]
    return table
