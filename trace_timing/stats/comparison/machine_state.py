"""The machine's state during a capture, and whether two captures were made in the same one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trace_timing.arrays import FloatArray
from trace_timing.records.runs import RunRecord

#: Columns of the machine's state before a run; empty where the machine does not report it.
STATE = ("probe_ns", "load_1m", "psi_cpu_some_10s")
#: A capture's range is over the medians of this many stretches of it.
STRETCHES = 4
#: The machine's load: percent of time in which some task waited for a processor; load average.
PRESSURE_APART = 10.0
LOAD_APART = 4.0
LOAD_RATIO = 2.0


@dataclass(frozen=True)
class StateDifference:
    """One sign that A and B were captured in different states, with the medians of both sides."""

    name: str
    a: float
    b: float

    def __str__(self) -> str:
        return f"{self.name}: {self.a:,.4g} and {self.b:,.4g}"


def state_of_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """As `state_rows`, from schema.RUNS; empty where the table lacks the state."""
    if not {"sample_id", "role", *STATE} <= set(runs.columns):
        return state_rows(())
    if "ordinal" in runs.columns:
        runs = runs.sort_values(["rank", "ordinal"], kind="stable")
    controls = runs.loc[runs["role"] == "control", ["sample_id", *STATE]].reset_index(drop=True)
    return controls.astype(dict.fromkeys(STATE, "float64"))


def state_rows(records: Iterable[RunRecord]) -> pd.DataFrame:
    """One row for each control, in the order made: sample_id and STATE."""
    controls = [r for r in records if r.role == "control" and r.status == "ok"]
    controls.sort(key=lambda r: (r.rank, -1 if r.ordinal is None else r.ordinal))
    rows = [
        {"sample_id": r.sample_id, **{name: _before(r).get(name) for name in STATE}}
        for r in controls
    ]
    table = pd.DataFrame(rows, columns=["sample_id", *STATE])
    return table.astype(dict.fromkeys(STATE, "float64"))


def _before(record: RunRecord) -> dict[str, float | None]:
    return dict(record.machine.get("before") or {})


def launch_costs(rows: pd.DataFrame, *, least: bool) -> pd.Series[float]:
    """Cost of an empty launch in ns by sample_id: the least or the median before its controls."""
    known = rows.dropna(subset=["probe_ns"])
    groups = known.groupby("sample_id")["probe_ns"]
    return groups.min() if least else groups.median()


def launch_shift(a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame]) -> float | None:
    """log(launch cost in B ÷ in A), medians; None where a side has none."""
    left, right = (_known(side, "probe_ns") for side in (a, b))
    if not len(left) or not len(right):
        return None
    return float(np.log(np.median(right) / np.median(left)))


def launch_difference(
    a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], limit: float
) -> StateDifference | None:
    """A difference in launch cost beyond `limit` (a ratio) and beyond each side's own variation.

    That is, the ranges of both sides' stretch medians do not overlap.
    """
    shift = launch_shift(a, b)
    if shift is None or abs(shift) <= np.log(limit) or _ranges_meet(a, b, "probe_ns"):
        return None
    return StateDifference("ns a launch", *_medians(a, b, "probe_ns"))


def load_difference(a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame]) -> StateDifference | None:
    """A busier machine on one side: by processor pressure, or by load where that is not known."""
    for name, is_apart in (("psi_cpu_some_10s", _pressure_apart), ("load_1m", _load_apart)):
        if len(_known(a, name)) and len(_known(b, name)):
            left, right = _medians(a, b, name)
            if is_apart(left, right) and not _ranges_meet(a, b, name):
                return StateDifference(name, left, right)
            return None
    return None


def _pressure_apart(a: float, b: float) -> bool:
    return abs(a - b) > PRESSURE_APART


def _load_apart(a: float, b: float) -> bool:
    return abs(a - b) > LOAD_APART and max(a, b) > LOAD_RATIO * min(a, b)


def _known(side: Sequence[pd.DataFrame], name: str) -> FloatArray:
    parts = [np.asarray(rows[name].dropna(), np.float64) for rows in side]
    return np.concatenate(parts) if parts else np.empty(0)


def _medians(
    a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], name: str
) -> tuple[float, float]:
    return float(np.median(_known(a, name))), float(np.median(_known(b, name)))


def _ranges_meet(a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], name: str) -> bool:
    (low_a, high_a), (low_b, high_b) = (_range(side, name) for side in (a, b))
    return low_a <= high_b and low_b <= high_a


def _range(side: Sequence[pd.DataFrame], name: str) -> tuple[float, float]:
    """Least and greatest median over stretches of the captures."""
    medians = []
    for rows in side:
        known = np.asarray(rows[name].dropna(), np.float64)
        stretches = np.array_split(known, min(STRETCHES, max(len(known), 1)))
        medians += [float(np.median(s)) for s in stretches if len(s)]
    return min(medians), max(medians)
