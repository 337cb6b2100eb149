"""Cells of comparable forwards of servers' traces: one stage, batch size and context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from trace_timing.arrays import FloatArray
from trace_timing.stats.comparison.capture_effect import middles
from trace_timing.stats.methods.paired_test import FEWEST

#: Cells for each doubling of tokens, so that those in a cell differ by less than about a twelfth;
#: what remains of their difference widens the error.
CELLS_PER_DOUBLING = 8
#: Quantile of a recording's undisturbed level. Lower than the tenth of a capture's samples: much of
#: a recording may be disturbed, and it has more steps.
ENVELOPE = 0.05
#: Sizes that differ within a cell; batch sizes are equal in it.
TOKENS = ("context_tokens", "generation_tokens")
_RUN = ["sample_id", "repeat", "rank"]


@dataclass(frozen=True)
class StepTables:
    """One recording of a server, as one or more traces made together.

    `steps` are schema.STEPS of its forwards, each run's in order of begin.
    """

    source: str
    steps: pd.DataFrame
    kernels: pd.DataFrame
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """How the steps of a cell give one value: a location of n logarithms, and its variance."""

    fewest: int
    of: Callable[[FloatArray], tuple[float, float]]


@dataclass(frozen=True)
class SideValues:
    """Logarithm of one time (ns) of each recording, over the cells that all of them have.

    `noise` is the variance of such a value due to its steps, `apart` the difference of the mean log
    tokens of A and B within the cells; `used` counts steps of A and of B.
    """

    a: FloatArray
    b: FloatArray
    noise: float
    apart: float
    used: tuple[int, int]


def with_cells(steps: pd.DataFrame) -> pd.DataFrame:
    """The steps whose names have all that a cell needs, with `cell` and logarithms of TOKENS.

    A forward that reads prompts needs its tokens, one of decode alone none. Adds `token_ns`, the
    time per token of a request: from a decode step to the next of the same batch; null where a step
    makes several tokens.
    """
    table = steps.assign(token_ns=_token_ns(steps))
    reads = table["stage"] != "decode"
    has_cell = table["batch_size"].notna() & (table["context_tokens"].notna() | ~reads)
    table = table[has_cell & table["recorded"].astype(bool)]
    for name in TOKENS:
        table[f"log_{name}"] = np.log1p(table[name].astype(float).fillna(0.0))
    width = np.log(2) / CELLS_PER_DOUBLING
    codes = [np.floor(table[f"log_{name}"] / width).astype(int) for name in TOKENS]
    cells = zip(table["stage"], table["batch_size"], *codes, strict=True)
    return table.assign(cell=pd.Series([*cells], index=table.index, dtype=object))


def _token_ns(steps: pd.DataFrame) -> pd.Series[Any]:
    after = steps.groupby(_RUN, dropna=False, sort=False)[["stage", "batch_size"]].shift(-1)
    goes_on = (steps["stage"] == "decode") & (after["stage"] == "decode")
    goes_on &= (steps["batch_size"] == after["batch_size"]).fillna(False).astype(bool)
    several = (steps["generation_tokens"] > steps["generation_requests"]).fillna(False).astype(bool)
    return steps["interval_ns"].where(goes_on & ~several)


def typical(logs: FloatArray) -> tuple[float, float]:
    """Mean of the middle half."""
    value, variance = middles(logs[None])
    return float(value[0]), float(variance[0])


def quickest(logs: FloatArray) -> tuple[float, float]:
    """The undisturbed level, its variance from the order statistics around it."""
    ordered = np.sort(logs)
    reach = np.sqrt(len(logs) * ENVELOPE * (1 - ENVELOPE))
    at = ENVELOPE * (len(logs) - 1)
    low, high = np.interp([at - reach, at + reach], np.arange(len(logs)), ordered)
    level = float(np.quantile(logs, ENVELOPE, method="lower"))
    return level, float((high - low) / 2) ** 2


TYPICAL = Reading(FEWEST, typical)
#: At least twenty steps: of fewer, the fifth percentile is the minimum.
QUICKEST = Reading(20, quickest)


def side_values(
    a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], column: str, reading: Reading
) -> SideValues | None:
    """One value for each recording: the mean over its cells, with the same weights in all.

    A cell's weight is its number of steps in the recording that has fewest in it.

    Args:
        a, b: rows of one stage from `with_cells`, a table for each recording.
        column: a time in ns.
    Returns:
        None where no cell has `reading.fewest` steps in every recording.
    """
    recordings = [_Recording.of(table, column) for table in (*a, *b)]
    common = set.intersection(*(r.cells(reading.fewest) for r in recordings))
    if not common:
        return None
    cells = sorted(common)
    counts = np.array([[len(r.places[cell]) for cell in cells] for r in recordings], np.float64)
    weights = counts.min(axis=0) / counts.min(axis=0).sum()
    read = np.array([[reading.of(r.logs[r.places[cell]]) for cell in cells] for r in recordings])
    values = read[:, :, 0] @ weights
    tokens = np.array(
        [[r.tokens[r.places[cell]].mean(axis=0) for cell in cells] for r in recordings]
    )
    levels = np.einsum("rct,c->rt", tokens, weights)
    apart = levels[len(a) :].mean(axis=0) - levels[: len(a)].mean(axis=0)
    return SideValues(
        a=values[: len(a)],
        b=values[len(a) :],
        noise=float((read[:, :, 1] @ weights**2).mean()),
        apart=float(np.abs(apart).sum()),
        used=(int(counts[: len(a)].sum()), int(counts[len(a) :].sum())),
    )


@dataclass(frozen=True)
class _Recording:
    """The steps of a recording with a time: its logarithm (n), log tokens (n, 2), their cells."""

    logs: FloatArray
    tokens: FloatArray
    places: Mapping[Any, Any]

    @classmethod
    def of(cls, table: pd.DataFrame, column: str) -> _Recording:
        """From rows of `with_cells`."""
        times = table[column].astype(float)
        known = table[times > 0]
        return cls(
            np.log(np.asarray(times[times > 0], np.float64)),
            np.asarray(known[[f"log_{name}" for name in TOKENS]], np.float64),
            known.groupby("cell", sort=False).indices,
        )

    def cells(self, fewest: int) -> set[Any]:
        """The cells with at least this many steps."""
        return {cell for cell, places in self.places.items() if len(places) >= fewest}
