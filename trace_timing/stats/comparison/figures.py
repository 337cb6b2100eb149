"""Figures to compare: matched samples, and each figure's values on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from trace_timing.stages import NUMBERED_STAGES
from trace_timing.stats.comparison.capture_effect import Drift
from trace_timing.stats.comparison.machine_state import launch_costs, state_rows
from trace_timing.stats.latency.busy_times import busy_ms
from trace_timing.stats.methods.paired_test import FEWEST
from trace_timing.timeline.breakdown.op_kinds import kind_of_copy, kind_of_kernel
from trace_timing.units import NS_PER_MS

#: `per token` and `batch` (a stage at one batch size) are only in servers' traces.
Level = Literal[
    "total",
    "stage",
    "minor stage",
    "undisturbed step",
    "per token",
    "busy",
    "batch",
    "kind",
    "kernel",
]
Basis = Literal["latency", "busy", "recorded"]

#: Most kernels with a verdict: those with the most time in A and B together.
MOST_KERNELS = 30
MAIN_STAGES = {"vision": "T_vision_total", "prefill": "T_LLM_prefill", "decode": "T_LLM_decode"}
MINOR_STAGES = {
    "vision_encoder": "T_vision_encoder",
    "projector": "T_projector",
    "sampling": "T_sampling",
    "rest": "T_rest",
}
UNDISTURBED_TIME = "T_step_undisturbed"
UNDISTURBED = "undisturbed step"
#: A figure counts as host time where the device idles for more than this share of it.
HOST_BOUND = 0.5

#: Standard deviation of the log of one capture's figure with nothing changed. For latencies and
#: undisturbed steps from recorded series (`python -m benchmarks.compare_power --drift`): six
#: processes of one model, idle and on a loaded host, spread by 21 % and 15 %; each divided by the
#: cost of an empty launch just before, by 5.3 % and 1.4 %. Wider here, for these are few machines.
HOST_DRIFT = Drift(0.20)
UNDISTURBED_DRIFT = Drift(0.15)
HOST_DRIFT_PER_LAUNCH = Drift(0.07)
UNDISTURBED_DRIFT_PER_LAUNCH = Drift(0.02)
#: The device's clock moves little: a stated prior, not fitted.
DEVICE_DRIFT = Drift(0.005)


@dataclass(frozen=True)
class Tables:
    """One capture's input to a comparison: schema.SAMPLES and KERNELS, and its conditions."""

    source: str
    samples: pd.DataFrame
    kernels: pd.DataFrame
    environment: Mapping[str, Any]
    settings: Mapping[str, Any]
    #: The machine's state before each control (machine_state.state_rows); empty where not recorded.
    state: pd.DataFrame = field(default_factory=lambda: state_rows(()))


Series = tuple["pd.Series[Any]", ...]


@dataclass(frozen=True)
class Figure:
    """One quantity of both sides, a series for each capture: ms, indexed by sample_id if paired.

    `drift` is the prior spread of a capture beyond that of its samples: the main error of a `host`
    time, a lower bound for that of a device time. `launch_a` and `launch_b` are ns of an empty
    launch before each sample, for a figure that is compared at equal launch cost.
    """

    level: Level
    name: str
    a: Series
    b: Series
    drift: Drift | None = None
    host: bool = False
    launch_a: Series | None = None
    launch_b: Series | None = None


def matched_samples(
    a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame]
) -> tuple[list[pd.DataFrame], list[pd.DataFrame], bool, list[str]]:
    """Rows of the samples that all captures have, whether they pair, and notes on those left out.

    Args:
        a, b: schema.SAMPLES of each capture. Fewer than FEWEST common ids do not pair: then all
            rows are returned.
    """
    tables = [*a, *b]
    common = set.intersection(*(set(t["sample_id"].dropna()) for t in tables))
    notes = []
    unlike = _other_inputs(tables, common)
    if unlike:
        notes.append(f"{len(unlike)} ids stand for inputs of different length and are left out")
    common -= unlike
    if len(common) < FEWEST:
        notes.append(
            f"{len(common)} ids match, too few to pair: the runs of both sides are compared as "
            "groups, so differences between inputs count as noise"
        )
        return [*a], [*b], False, notes
    for side, group in (("A", a), ("B", b)):
        alone = max(t["sample_id"].nunique() for t in group) - len(common) - len(unlike)
        if alone:
            notes.append(f"{alone} samples of {side} have no partner and are left out")
    kept = [[t[t["sample_id"].isin(common)] for t in group] for group in (a, b)]
    return kept[0], kept[1], True, notes


def _other_inputs(tables: Sequence[pd.DataFrame], common: set[str]) -> set[str]:
    lengths = pd.DataFrame(
        {i: t.groupby("sample_id")["input_tokens"].median() for i, t in enumerate(tables)}
    )
    return set(lengths.index[lengths.nunique(axis=1) > 1]) & common


def stage_figures(
    a: Sequence[pd.DataFrame],
    b: Sequence[pd.DataFrame],
    basis: Basis,
    paired: bool,
    states: tuple[Sequence[pd.DataFrame], Sequence[pd.DataFrame]] | None = None,
) -> Iterator[Figure]:
    """Total and stages, a sample's repeats as their median; decode and sampling per step.

    Latencies have the undisturbed step and the busy times beside them.

    Args:
        states: machine_state.state_rows of each capture. Given where only the machine's state can
            make launch costs differ: host latencies are then compared at equal launch cost.
    """
    maker = _FigureMaker(a, b, paired, states if paired and basis == "latency" else None)
    levels: list[tuple[Level, Mapping[str, str]]] = [
        ("total", {"total": "T_total"}),
        ("stage", MAIN_STAGES),
        ("minor stage", MINOR_STAGES),
    ]
    for level, names in levels:
        for name, time in names.items():
            yield from maker.times(level, name, time, basis)
    if basis == "latency":
        yield from maker.undisturbed()
    if basis != "busy":
        for name, time in {"total": "T_total", **MAIN_STAGES}.items():
            yield from maker.times("busy", name, time, "busy")


def times_ms(table: pd.DataFrame, time: str, basis: Basis) -> pd.Series[Any]:
    """A time (T_total …) of schema.SAMPLES on a basis; all NaN where the table lacks it."""
    column = f"{time}_{basis}_ms"
    if basis == "latency" or (basis == "recorded" and column not in table):
        column = f"{time}_ms"
    if column not in table:
        return pd.Series(np.nan, index=table.index)
    return busy_ms(table, time)[0] if basis == "busy" else table[column].astype(float)


def estimate_notes(samples: Sequence[pd.DataFrame]) -> list[str]:
    """A note where the busy times of some samples cover only their recorded steps.

    Args:
        samples: schema.SAMPLES of each capture.
    """
    known = [table for table in samples if "T_total_busy_ms" in table]
    part = sum(int(busy_ms(table, "T_total")[1].sum()) for table in known)
    if not part:
        return []
    return [
        f"of {part} samples not every step was recorded: their busy times of total, rest and "
        "sampling are estimates, and a decode step is the mean of the recorded ones"
    ]


class _FigureMaker:
    """Makes figures of the same captures on different times and bases."""

    def __init__(
        self,
        a: Sequence[pd.DataFrame],
        b: Sequence[pd.DataFrame],
        paired: bool,
        states: tuple[Sequence[pd.DataFrame], Sequence[pd.DataFrame]] | None,
    ) -> None:
        self.tables = [*a, *b]
        self.split = len(a)
        self.paired = paired
        known_states = [] if states is None else [*states[0], *states[1]]
        #: By whether it is the least or the median cost before a sample's controls.
        self.costs = {
            least: tuple(launch_costs(state, least=least) for state in known_states)
            for least in (True, False)
        }
        # Repeats of one input are not independent samples, unless all samples have the same input.
        ids = [set(t["sample_id"]) for t in self.tables]
        self.apart = not paired and all(i == ids[0] for i in ids)
        self.steps = [self._by_sample(t, t["decode_steps"].astype(float)) for t in self.tables]

    def times(self, level: Level, name: str, time: str, basis: Basis) -> Iterator[Figure]:
        """The figure of one time; nothing where a capture lacks it."""
        values = [self._times(t, name, time, basis) for t in self.tables]
        drift = DEVICE_DRIFT if basis == "busy" else HOST_DRIFT
        figure = self._figure(level, f"busy {name}" if level == "busy" else name, values, drift)
        if figure is None:
            return
        if basis == "latency" and self._is_the_hosts(time):
            figure = self._at_equal_launch_cost(figure, HOST_DRIFT_PER_LAUNCH, least=False)
        yield figure

    def undisturbed(self) -> Iterator[Figure]:
        """Tenth percentile of a sample's steps."""
        values = [self._times(t, UNDISTURBED, UNDISTURBED_TIME, "latency") for t in self.tables]
        figure = self._figure("undisturbed step", UNDISTURBED, values, UNDISTURBED_DRIFT)
        if figure is None:
            return
        if self._is_the_hosts("T_LLM_decode"):
            figure = self._at_equal_launch_cost(figure, UNDISTURBED_DRIFT_PER_LAUNCH, least=True)
        yield figure

    def _figure(
        self, level: Level, name: str, values: Sequence[pd.Series[Any]], drift: Drift
    ) -> Figure | None:
        if not all(v.notna().any() for v in values):
            return None
        if level == "total" or name == "busy total":
            values = self._of_one_length(values)
        known = tuple(values if self.paired else [v.dropna() for v in values])
        return Figure(
            level,
            name,
            known[: self.split],
            known[self.split :],
            drift,
            host=drift != DEVICE_DRIFT,
        )

    def _at_equal_launch_cost(self, figure: Figure, drift: Drift, *, least: bool) -> Figure:
        """The figure with launch costs beside it, and the drift that remains then."""
        costs = self.costs[least]
        ids = figure.a[0].index
        if not costs or not all(ids.isin(cost.index).all() for cost in costs):
            return figure
        return replace(
            figure, drift=drift, launch_a=costs[: self.split], launch_b=costs[self.split :]
        )

    def _is_the_hosts(self, time: str) -> bool:
        """Whether the device idles for most of the time, where that is known."""
        shares = [
            (times_ms(t, time, "busy") / times_ms(t, time, "latency")).median() for t in self.tables
        ]
        known = [share for share in shares if pd.notna(share)]
        return bool(known) and float(np.mean(known)) < 1 - HOST_BOUND

    def _times(self, table: pd.DataFrame, name: str, time: str, basis: Basis) -> pd.Series[Any]:
        if name == "decode" and basis != "latency":
            # Of a recorded step, whether all were recorded or some.
            each = times_ms(table, "T_decode_per_token", basis)
            if each.notna().any():
                return self._by_sample(table, each)
        values = times_ms(table, time, basis)
        if name in NUMBERED_STAGES:
            numbered = table["decode_steps"].astype(float) + (name == "sampling")
            values = (values / numbered).replace([np.inf, -np.inf], np.nan)
        return self._by_sample(table, values)

    def _by_sample(self, table: pd.DataFrame, values: pd.Series[Any]) -> pd.Series[Any]:
        if self.apart:
            return values
        if table["sample_id"].is_unique:
            return values.set_axis(table["sample_id"]).sort_index()
        return values.groupby(table["sample_id"]).median().sort_index()

    def _of_one_length(self, values: Sequence[pd.Series[Any]]) -> list[pd.Series[Any]]:
        """Totals of the samples with equal step counts in all captures: others do not compare."""
        if self.paired:
            same = pd.concat(self.steps, axis=1).nunique(axis=1) == 1
            return [v.where(same.reindex(v.index, fill_value=False)) for v in values]
        common = set.intersection(*(set(steps.dropna()) for steps in self.steps))
        return [
            v.where(own.reindex(v.index).isin(common)) if len(v) else v
            for v, own in zip(values, self.steps, strict=True)
        ]


def kernel_figures(
    a: Sequence[tuple[pd.DataFrame, pd.DataFrame]], b: Sequence[tuple[pd.DataFrame, pd.DataFrame]]
) -> list[Figure]:
    """Kinds of work and kernels by stage: those with the most time over all captures.

    Args:
        a, b: (schema.KERNELS, matched samples) of each capture of a side; empty if any capture has
            no recorded run.
    """
    if any(kernels.empty for kernels, _ in (*a, *b)):
        return []
    tables = [_per_step(kernels, samples) for kernels, samples in (*a, *b)]
    figures = []
    levels: tuple[Level, ...] = ("kind", "kernel")
    for level in levels:
        wide = [_wide(table, level) for table in tables]
        ids, common = wide[0].index, wide[0].columns
        for table in wide[1:]:
            ids, common = ids.intersection(table.index), common.intersection(table.columns)
        weight = sum(table[common].sum() for table in wide)
        chosen = pd.Series(weight, dtype=float).sort_values(ascending=False).index[:MOST_KERNELS]
        for name in chosen:
            series = tuple(table.loc[ids, name] for table in wide)
            figures.append(
                Figure(level, str(name), series[: len(a)], series[len(a) :], DEVICE_DRIFT)
            )
    return figures


def _per_step(kernels: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Kernel rows of matched samples with `kind`, `kernel` and `ms` (per step where numbered).

    Divided by recorded steps, since only their kernels are known.
    """
    key = ["sample_id", "rank"]
    table = kernels.merge(samples[[*key, "recorded_steps"]], on=key)
    steps = table["recorded_steps"].astype(float)
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


def one_sided_kernels(
    a: Iterable[pd.DataFrame], b: Iterable[pd.DataFrame]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kernels, by `stage: name`, that only captures of A have, and only captures of B."""
    left, right = (
        {f"{s}: {n}" for t in side for s, n in zip(t["stage"], t["name"], strict=True)}
        for side in (a, b)
    )
    return tuple(sorted(left - right)), tuple(sorted(right - left))
