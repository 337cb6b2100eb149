"""How much runs of one input differ on this machine: what smaller differences are lost in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from trace_timing.records import VISION_STAGES, RunRecord, Stage
from trace_timing.stats.outliers import MAD_TO_SIGMA, mad
from trace_timing.units import FloatArray

#: Runs of one input that are told apart from chance: the median of fewer is one of them.
FEWEST_RUNS = 3
#: Figure → its column of schema.SAMPLES, and its stages in a control (None for the total).
FIGURES: Mapping[str, tuple[str, tuple[Stage, ...] | None]] = {
    "total": ("T_total_ms", None),
    "vision": ("T_vision_total_ms", VISION_STAGES),
    "prefill": ("T_LLM_prefill_ms", ("prefill",)),
    "decode": ("T_LLM_decode_ms", ("decode",)),
}

Source = Literal["profiled runs", "controls"]


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """Median over samples of MAD ÷ median of one figure among runs of one input."""

    figure: str
    frac: float
    #: What was repeated: profiled runs where a sample has three, else its unprofiled controls.
    of: Source
    samples: int

    @property
    def sigma(self) -> float:
        """Standard deviation of the log of one run, as if noise were normal."""
        return self.frac / MAD_TO_SIGMA


@dataclass(frozen=True, kw_only=True)
class PairSpread:
    """Standard deviation of log(B ÷ A) of one run each of one input; `of` says what told it."""

    spread: float
    of: Source


def pair_spreads(a: Sequence[NoiseFloor], b: Sequence[NoiseFloor]) -> dict[str, PairSpread]:
    """What pairs are to be expected to differ by, per figure that either side's floor is known of.

    A side without a floor is taken to be as noisy as the other.
    """
    left, right = ({floor.figure: floor for floor in floors} for floors in (a, b))
    found = {}
    for name in {**left, **right}:
        one = left.get(name) or right[name]
        other = right.get(name) or one
        found[name] = PairSpread(spread=math.hypot(one.sigma, other.sigma), of=one.of)
    return found


def noise_floors(
    samples: pd.DataFrame, controls: Sequence[RunRecord] = ()
) -> tuple[NoiseFloor, ...]:
    """The floor of each figure that runs of one input tell; none where nothing was repeated.

    Args:
        samples: schema.SAMPLES.
        controls: unprofiled runs; bare ones and those before any profiling are left out, because
            they are other conditions and no repeats.
    """
    found = []
    for figure, (column, stages) in FIGURES.items():
        sources: tuple[tuple[Source, Iterable[FloatArray]], ...] = (
            ("profiled runs", _repeats(samples, column)),
            ("controls", _controls(controls, stages)),
        )
        for of, groups in sources:
            fracs = [mad(g) / float(np.median(g)) for g in groups if len(g) >= FEWEST_RUNS]
            if fracs:
                frac = float(np.median(fracs))
                found.append(NoiseFloor(figure=figure, frac=frac, of=of, samples=len(fracs)))
                break
    return tuple(found)


def _repeats(samples: pd.DataFrame, column: str) -> Iterator[FloatArray]:
    known = samples[["sample_id", "rank", column]].dropna()
    # Most captures repeat no run: thousands of groups of one are not worth looping over.
    repeated = known.groupby(["sample_id", "rank"])[column].transform("size") >= FEWEST_RUNS
    for _, group in known[repeated].groupby(["sample_id", "rank"])[column]:
        values = np.asarray(group, np.float64)
        yield values[values > 0]


def _controls(
    controls: Sequence[RunRecord], stages: tuple[Stage, ...] | None
) -> Iterator[FloatArray]:
    # Runs of a process that has used CUPTI and of one that has not are of different conditions.
    by_sample: dict[tuple[str, int, str], list[float]] = {}
    for record in controls:
        told = record.control
        if told is None or told.bare:
            continue
        of_stages = (s.duration_ns for s in told.segments if s.stage in (stages or ()))
        time = told.total_ns if stages is None else sum(of_stages)
        if time > 0:
            by_sample.setdefault((record.sample_id, record.rank, told.cupti), []).append(time)
    for values in by_sample.values():
        yield np.asarray(values, np.float64)
