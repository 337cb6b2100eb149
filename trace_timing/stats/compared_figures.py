"""What a comparison holds against each other: matched samples, and each figure of both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from trace_timing.records import NUMBERED_STAGES
from trace_timing.stats.noise import NoiseFloor
from trace_timing.stats.paired import FEWEST
from trace_timing.timeline.kinds import kind_of_copy, kind_of_kernel
from trace_timing.units import NS_PER_MS

Level = Literal["total", "stage", "minor stage", "kind", "kernel"]
Basis = Literal["latency", "busy"]

#: Kernels that get a verdict: those with the most time in A and B together.
MOST_KERNELS = 30
MAIN_STAGES = {"vision": "T_vision_total", "prefill": "T_LLM_prefill", "decode": "T_LLM_decode"}
MINOR_STAGES = {
    "vision_encoder": "T_vision_encoder",
    "projector": "T_projector",
    "sampling": "T_sampling",
    "rest": "T_rest",
}


@dataclass(frozen=True)
class Tables:
    """What a comparison needs of one side: schema.SAMPLES and KERNELS, and the conditions."""

    source: str
    samples: pd.DataFrame
    kernels: pd.DataFrame
    environment: Mapping[str, Any]
    settings: Mapping[str, Any]
    #: How much runs of one input differ, where the side says so.
    noise: Sequence[NoiseFloor] = ()


@dataclass(frozen=True)
class Figure:
    """One quantity of both sides: a and b in ms, index sample_id (paired) or anything (not)."""

    level: Level
    name: str
    a: pd.Series[float]
    b: pd.Series[float]


def matched_samples(
    a: pd.DataFrame, b: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, bool, list[str]]:
    """Rows of the samples that both have, whether they pair, and what was left out.

    Args:
        a, b: schema.SAMPLES. Fewer than FEWEST ids in both do not pair: all rows come back.
    """
    common = set(a["sample_id"].dropna()) & set(b["sample_id"].dropna())
    notes = []
    unlike = _other_inputs(a, b, common)
    if unlike:
        notes.append(f"{len(unlike)} ids stand for inputs of different length and are left out")
    common -= unlike
    if len(common) < FEWEST:
        notes.append(
            f"{len(common)} ids match, too few to pair: the runs of both sides are compared as "
            "groups, so differences between inputs count as noise"
        )
        return a, b, False, notes
    for side, table in (("A", a), ("B", b)):
        alone = table["sample_id"].nunique() - len(common) - len(unlike)
        if alone:
            notes.append(f"{alone} samples of {side} have no partner and are left out")
    return (
        a[a["sample_id"].isin(common)],
        b[b["sample_id"].isin(common)],
        True,
        notes,
    )


def _other_inputs(a: pd.DataFrame, b: pd.DataFrame, common: set[str]) -> set[str]:
    lengths = [t.groupby("sample_id")["input_tokens"].median() for t in (a, b)]
    return {
        i
        for i in common
        if pd.notna(lengths[0][i]) and pd.notna(lengths[1][i]) and lengths[0][i] != lengths[1][i]
    }


def stage_figures(a: pd.DataFrame, b: pd.DataFrame, basis: Basis, paired: bool) -> Iterable[Figure]:
    """Total and stages, a sample's ranks as their median; decode and sampling per step."""
    levels: list[tuple[Level, Mapping[str, str]]] = [
        ("total", {"total": "T_total"}),
        ("stage", MAIN_STAGES),
        ("minor stage", MINOR_STAGES),
    ]
    suffix = "_ms" if basis == "latency" else f"_{basis}_ms"
    # Ranks of one input witness for that input alone: apart only where both sides have the same.
    apart = not paired and set(a["sample_id"]) == set(b["sample_id"])
    steps = [_by_sample(t, t["decode_steps"].astype(float), apart) for t in (a, b)]
    for level, names in levels:
        for name, time in names.items():
            sides = [
                _by_sample(table, _times(table, name, time + suffix), apart) for table in (a, b)
            ]
            if not all(side.notna().any() for side in sides):
                continue
            if level == "total":
                sides = _of_one_length(sides, steps, paired)
            left, right = sides if paired else [side.dropna() for side in sides]
            yield Figure(level, name, left, right)


def _times(table: pd.DataFrame, name: str, column: str) -> pd.Series[Any]:
    values = table[column].astype(float)
    if name not in NUMBERED_STAGES:
        return values
    numbered = table["decode_steps"].astype(float) + (name == "sampling")
    return (values / numbered).replace([np.inf, -np.inf], np.nan)


def _of_one_length(
    sides: list[pd.Series[Any]], steps: list[pd.Series[Any]], paired: bool
) -> list[pd.Series[Any]]:
    """Totals of as many steps on both sides: that of more steps is no slower total."""
    if paired:
        return [side.where(steps[0] == steps[1]) for side in sides]
    return [
        side.where(own.isin(set(others)))
        for side, own, others in zip(sides, steps, reversed(steps), strict=True)
    ]


def _by_sample(table: pd.DataFrame, values: pd.Series[Any], apart: bool) -> pd.Series[Any]:
    return values if apart else values.groupby(table["sample_id"]).median().sort_index()


def kernel_figures(
    a: tuple[pd.DataFrame, pd.DataFrame], b: tuple[pd.DataFrame, pd.DataFrame]
) -> list[Figure]:
    """Kinds of work and kernels by stage, the longest of both sides together.

    Args:
        a, b: (schema.KERNELS, matched samples) of each side.
    """
    tables = [_per_step(kernels, samples) for kernels, samples in (a, b)]
    figures = []
    levels: tuple[Level, ...] = ("kind", "kernel")
    for level in levels:
        wide = [_wide(table, level) for table in tables]
        ids = wide[0].index.intersection(wide[1].index)
        both = wide[0].columns.intersection(wide[1].columns)
        weight = wide[0][both].sum() + wide[1][both].sum()
        chosen = weight.sort_values(ascending=False).index[:MOST_KERNELS]
        for name in chosen:
            pair = [table.loc[ids, name] for table in wide]
            figures.append(Figure(level, str(name), pair[0], pair[1]))
    return figures


def _per_step(kernels: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Kernel rows of matched samples with `kind`, `kernel` and `ms` (per step where numbered)."""
    key = ["sample_id", "rank"]
    table = kernels.merge(samples[[*key, "decode_steps"]], on=key)
    steps = table["decode_steps"].astype(float)
    divisor = np.select(
        [table["stage"] == "decode", table["stage"] == "sampling"], [steps, steps + 1], 1.0
    )
    table["ms"] = (
        table["total_ns"].astype(float) / NS_PER_MS / np.where(divisor > 0, divisor, np.nan)
    )
    kinds = {pair: _kind(*pair) for pair in set(zip(table["op"], table["name"], strict=True))}
    named = [kinds[pair] for pair in zip(table["op"], table["name"], strict=True)]
    table["kind"] = table["stage"] + ": " + pd.Series(named, index=table.index, dtype=object)
    table["kernel"] = table["stage"] + ": " + table["name"]
    return table


def _kind(op: str, name: str) -> str:
    if op == "memset":
        return op
    return kind_of_kernel(name) if op == "kernel" else kind_of_copy(name)


def _wide(table: pd.DataFrame, by: str) -> pd.DataFrame:
    runs = table.groupby(["sample_id", "repeat", "rank", by])["ms"].sum(min_count=1)
    return runs.groupby(["sample_id", by]).median().unstack(by)


def one_sided_kernels(a: pd.DataFrame, b: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kernels, by `stage: name`, that A alone and that B alone has."""
    left, right = (
        {f"{s}: {n}" for s, n in zip(t["stage"], t["name"], strict=True)} for t in (a, b)
    )
    return tuple(sorted(left - right)), tuple(sorted(right - left))
