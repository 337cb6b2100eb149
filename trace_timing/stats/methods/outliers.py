"""Find outliers among runs, and causes of them in the machine's state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trace_timing.arrays import BoolArray, FloatArray
from trace_timing.records.runs import RunRecord
from trace_timing.stats.methods.middle import median

#: (sample_id, repeat, rank, role, index of the control or −1).
RunId = tuple[str, int, int, str, int]
#: Modified z above which a value is an outlier, and the constant that makes MAD a sigma.
#: Source: B. Iglewicz and D. Hoaglin, How to Detect and Handle Outliers (1993), section 3.
OUTLIER_Z = 3.5
MAD_TO_SIGMA = 0.6745
#: An SM clock is a drop below this share of the capture's median.
CLOCK_DROP_FRAC = 0.05
#: Fewest values: of three, two are often close by chance, and the third then stands out.
FEWEST_TO_STAND_OUT_OF = 5
_READ = (
    "sample_id", "rank", "role", "repeat", "index", "cupti", "T_total_ms", "T_decode_per_token_ms",
)  # fmt: skip
_Row = dict[Any, Any]


def mad(values: FloatArray) -> float:
    """Median absolute deviation from the median, not scaled."""
    return median(np.abs(values - median(values)))


def outliers(values: FloatArray) -> BoolArray:
    """Which of n values lie far out, by the modified z-score.

    None where more than half the values are equal (MAD 0), for there is no spread to measure by.
    """
    spread = mad(values)
    if spread == 0:
        return np.zeros(len(values), dtype=bool)
    far: BoolArray = MAD_TO_SIGMA * np.abs(values - median(values)) / spread > OUTLIER_Z
    return far


def causes(records: Sequence[RunRecord]) -> dict[RunId, tuple[str, ...]]:
    """Possible causes of a disturbance in each run, by the machine's state.

    `first_run`: the first of its process. `allocator`: the device allocator retried or grew
    within it. `clock_drop`: an SM clock more than 5 % below the capture's median.
    """
    clocks = {id(r): _device_figures(r, "after", "sm_mhz") for r in records}
    all_clocks = [clock for found in clocks.values() for clock in found]
    usual = float(np.median(all_clocks)) if all_clocks else 0.0
    return {
        (r.sample_id, r.repeat, r.rank, r.role, r.control.index if r.control else -1): tuple(
            name
            for name, raised in (
                ("first_run", r.ordinal == 0),
                ("allocator", _rose(r, "alloc_retries") or _rose(r, "device_allocs")),
                ("clock_drop", any(c < usual * (1 - CLOCK_DROP_FRAC) for c in clocks[id(r)])),
            )
            if raised
        )
        for r in records
    }


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """One run with a figure far from those of comparable runs (ms)."""

    sample_id: str
    role: str
    repeat: int
    rank: int
    time: str
    ms: float
    median_ms: float
    #: The runs it was compared with: its sample's, or for a decode step all of the same kind.
    among: str
    #: From `causes`; empty where the machine's state shows none.
    causes: tuple[str, ...]


def find_outliers(runs: pd.DataFrame, records: Sequence[RunRecord] = ()) -> tuple[Outlier, ...]:
    """Outliers among runs of one kind: totals within a sample, decode steps within the capture.

    Totals depend on the input, decode steps hardly. The kinds are recorded runs, controls, and
    controls with a profiler attached.

    Args:
        runs: schema.RUNS; bare controls are left out.
        records: those of recorded runs and controls.
    """
    known = causes(records)
    by_sample: dict[tuple[Any, ...], list[_Row]] = {}
    by_kind: dict[tuple[Any, ...], list[_Row]] = {}
    for row in _counted(runs):
        kind = (row["role"], row["attached"])
        by_sample.setdefault((row["sample_id"], row["rank"], *kind), []).append(row)
        by_kind.setdefault(kind, []).append(row)
    groups = [
        *(("T_total_ms", "its sample's", by_sample[key]) for key in sorted(by_sample)),
        *(("T_decode_per_token_ms", "all", by_kind[key]) for key in sorted(by_kind)),
    ]
    return tuple(
        outlier for time, among, group in groups for outlier in _among(group, time, among, known)
    )


def _counted(runs: pd.DataFrame) -> list[_Row]:
    """All runs but bare controls, as plain rows: a data frame a sample would take a millisecond."""
    rows = runs.loc[runs["bare"].ne(True), list(_READ)]
    records: list[_Row] = rows.assign(attached=rows["cupti"] == "attached").to_dict("records")
    return records


def _among(
    runs: Sequence[_Row], time: str, among: str, known: Mapping[RunId, tuple[str, ...]]
) -> Iterator[Outlier]:
    """Outliers of one time among comparable runs."""
    timed = [run for run in runs if not pd.isna(run[time])]
    if len(timed) < FEWEST_TO_STAND_OUT_OF:
        return
    values = np.array([run[time] for run in timed], np.float64)
    far, middle = outliers(values), median(values)
    for run in (timed[i] for i in np.flatnonzero(far)):
        sample_id, rank = str(run["sample_id"]), int(run["rank"])
        repeat = _whole(run["repeat"], missing=0)
        role = str(run["role"])
        index = _whole(run["index"], missing=-1)
        yield Outlier(
            sample_id=sample_id,
            role=role,
            repeat=repeat,
            rank=rank,
            time=time,
            ms=float(run[time]),
            median_ms=middle,
            among=among,
            causes=known.get((sample_id, repeat, rank, role, index), ()),
        )


def _whole(value: Any, *, missing: int) -> int:
    return missing if pd.isna(value) else int(value)


def _rose(record: RunRecord, figure: str) -> bool:
    before, after = (_device_figures(record, when, figure) for when in ("before", "after"))
    return sum(after) > sum(before) if before and after else False


def _device_figures(record: RunRecord, when: str, figure: str) -> list[float]:
    devices = (record.machine.get(when) or {}).get("devices") or []
    return [float(device[figure]) for device in devices if device.get(figure) is not None]
