"""The noise floor: how much runs of one input differ on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from trace_timing.arrays import FloatArray
from trace_timing.stats.methods.middle import median
from trace_timing.stats.methods.outliers import mad

#: Fewest runs of one input for a median absolute deviation.
FEWEST_RUNS = 3
#: Figure → its column of schema.RUNS.
FIGURES: Mapping[str, str] = {
    "total": "T_total_ms",
    "vision": "T_vision_total_ms",
    "prefill": "T_LLM_prefill_ms",
    "decode": "T_LLM_decode_ms",
}

Source = Literal["controls", "recorded runs"]


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """Median over samples of MAD ÷ median of one figure among runs of one input."""

    figure: str
    frac: float
    #: What was repeated: controls where a sample has three, else its recorded runs.
    of: Source
    samples: int


def noise_floors(runs: pd.DataFrame) -> tuple[NoiseFloor, ...]:
    """The noise floor of each figure; empty where no input was repeated.

    Args:
        runs: schema.RUNS. Controls that are bare or had a profiler attached are left out, for their
            conditions differ.
    """
    alike = (runs["role"] == "control") & (runs["cupti"] != "attached") & (runs["bare"] == False)  # noqa: E712
    sources: tuple[tuple[Source, pd.DataFrame], ...] = (
        ("controls", runs[alike]),
        ("recorded runs", runs[runs["role"] == "recorded"]),
    )
    floors = []
    for figure, column in FIGURES.items():
        for of, table in sources:
            groups = _repeats(table, column)
            fracs = [mad(g) / median(g) for g in groups if len(g) >= FEWEST_RUNS]
            if fracs:
                frac = float(np.median(fracs))
                floors.append(NoiseFloor(figure=figure, frac=frac, of=of, samples=len(fracs)))
                break
    return tuple(floors)


def _repeats(runs: pd.DataFrame, column: str) -> Iterator[FloatArray]:
    known = runs[["sample_id", "rank", column]].dropna()
    # Most captures repeat no run: thousands of groups of one are not worth looping over.
    repeated = known.groupby(["sample_id", "rank"])[column].transform("size") >= FEWEST_RUNS
    for _, group in known[repeated].groupby(["sample_id", "rank"])[column]:
        values = np.asarray(group, np.float64)
        yield values[values > 0]
