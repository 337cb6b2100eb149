"""Prefill and decode step against size, grouped by the values of each metadata column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trace_timing import schema
from trace_timing.arrays import FloatArray
from trace_timing.stats.latency.evidence import FAULTS
from trace_timing.units import NS_PER_MS

#: Name of the grouping with all samples together; the only one without metadata.
ALL = "nothing"
#: Most groups, so that colours can be told apart; more numbers become ranges of equal count.
MOST_VALUES, RANGES = 8, 4
MOST_COLUMNS = 12
#: Most step positions drawn for a group.
MOST_POSITIONS = 200


@dataclass(frozen=True, kw_only=True)
class Group:
    """Points of the samples with one value of one column; arrays of one length, ms.

    `low` and `high` are the ends of 95 % intervals, NaN where there is none.
    """

    column: str
    value: str
    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray


def configurations(samples: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    """Metadata columns in which samples differ, as texts with few values; `ALL` first.

    Many distinct numbers become ranges; columns with many distinct texts are left out.
    """
    columns: dict[str, pd.Series[Any]] = {ALL: pd.Series("all samples", index=samples.index)}
    for name in samples.columns:
        if name in schema.SAMPLES.names or len(columns) > MOST_COLUMNS:
            continue
        texts = samples[name].astype("object").map(_text)
        if 2 <= texts.nunique() <= MOST_VALUES:
            columns[name] = texts
        elif (numbers := _numbers(samples[name])) is not None:
            columns[name] = _ranges(numbers)
    return columns


def prefill_groups(samples: pd.DataFrame) -> list[Group]:
    """A point a usable sample: latency of prefill against input tokens.

    Args:
        samples: schema.SAMPLES with metadata columns.
    """
    name = "T_LLM_prefill"
    good = _good(samples)
    good = good[good["input_tokens"].notna() & good[f"{name}_ms"].notna()]
    columns = ("input_tokens", f"{name}_ms", f"{name}_lo_ms", f"{name}_hi_ms")
    return [
        Group(column=column, value=value, **_points(table, columns))
        for column, value, table in _parts(good)
    ]


def step_groups(samples: pd.DataFrame, steps: pd.DataFrame) -> list[Group]:
    """A point a position: median latency of a decode step over the group's samples.

    The ends of its interval are the medians of the samples' ends.

    Args:
        samples, steps: schema.SAMPLES and STEPS.
    """
    known = steps[(steps["stage"] == "decode") & steps["usable"] & steps["latency_ns"].notna()]
    times = ["latency_ns", "latency_lo_ns", "latency_hi_ns"]
    known = known[["sample_id", "rank", "step", *(t for t in times if t in known)]]
    groups = []
    for column, value, table in _parts(_good(samples)):
        mine = known.merge(table[["sample_id", "rank"]], on=["sample_id", "rank"])
        if mine.empty:
            continue
        middle = mine.groupby("step").median(numeric_only=True).reindex(columns=times)
        middle = middle.iloc[:: len(middle) // MOST_POSITIONS + 1] / NS_PER_MS
        points = _points(middle.reset_index(), ("step", *times))
        groups.append(Group(column=column, value=value, **points))
    return groups


def _good(samples: pd.DataFrame) -> pd.DataFrame:
    faults = samples["reasons"].fillna("").str.split(",")
    whole = np.array([not FAULTS.intersection(codes) for codes in faults], bool)
    good: pd.DataFrame = samples[whole & samples["usable"].to_numpy(bool)]
    return good


def _parts(samples: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    return [
        (column, value, samples[texts == value])
        for column, texts in configurations(samples).items()
        for value in _in_order(texts)
    ]


def _points(table: pd.DataFrame, columns: tuple[str, ...]) -> Mapping[str, FloatArray]:
    values = table.reindex(columns=list(columns)).astype("Float64").sort_values(columns[0])
    arrays = (values[name].to_numpy(np.float64, na_value=np.nan) for name in columns)
    return dict(zip(("x", "y", "low", "high"), arrays, strict=True))


def _in_order(texts: pd.Series[Any]) -> list[str]:
    """The distinct values, by the number that they begin with, if any."""
    present = [str(value) for value in texts.dropna().unique()]
    return sorted(present, key=lambda text: (_leading(text), text))


def _leading(text: str) -> float:
    try:
        return float(text.split(" to ")[0])
    except ValueError:
        return float("inf")


def _text(value: Any) -> Any:
    if value is None or (isinstance(value, float) and value != value) or value is pd.NA:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value.tolist() if isinstance(value, np.ndarray) else value)


def _numbers(values: pd.Series[Any]) -> pd.Series[Any] | None:
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() < 2:
        return None
    return values.astype("Float64").astype(float)


def _ranges(values: pd.Series[Any]) -> pd.Series[Any]:
    """Each value as the name of its range: the least and greatest value in it."""
    number = pd.qcut(values, RANGES, labels=False, duplicates="drop")
    ends = values.groupby(number).agg(["min", "max"])
    names = {n: f"{low:g} to {high:g}" for n, low, high in ends.itertuples()}
    return number.map(names)
