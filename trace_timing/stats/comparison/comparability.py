"""Whether two captures can be compared: conditions that differ, and verdicts they withhold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from trace_timing.stats.comparison.figures import Basis, Tables
from trace_timing.stats.comparison.machine_state import launch_difference, load_difference
from trace_timing.stats.comparison.step_cells import StepTables

#: What a difference leads to. Latencies: all host times except the undisturbed step at equal launch
#: cost.
Bearing = Literal["listed", "withholds latencies", "withholds host times", "withholds all"]

#: Launch costs that differ by more than this ratio mean another state of the machine; dividing by
#: them leaves some of the difference in latencies, less in undisturbed steps.
LAUNCH_LIMIT = 1.15
LAUNCH_LIMIT_UNDISTURBED = 1.3
#: Sources of latencies that no profiler slowed.
UNPROFILED = frozenset({"control", "scaled"})


@dataclass(frozen=True)
class Difference:
    """One condition in which A and B differ, and which verdicts it withholds."""

    name: str
    a: str
    b: str
    bearing: Bearing


def withholds(difference: Difference, *, host: bool, steadied: bool) -> bool:
    """Whether a difference withholds the verdict on a figure.

    Args:
        host: the figure includes host time.
        steadied: the figure is an undisturbed step at equal launch cost.
    """
    match difference.bearing:
        case "listed":
            return False
        case "withholds latencies":
            return host and not steadied
        case "withholds host times":
            return host
        case "withholds all":
            return True


def capture_differences(
    a: Sequence[Tables], b: Sequence[Tables], basis: Basis
) -> tuple[Difference, ...]:
    """Every condition that differs between A and B, by the first capture of each side.

    Another device, version or setting may be the subject of the comparison: it is only listed.
    Another clock withholds all verdicts. Another profile mode stretches the host by another factor,
    so it withholds recorded host times. Another state of the machine, by launch cost or load,
    withholds host times.
    """
    first, second = a[0], b[0]
    differences = [*_column_differences(first.samples, second.samples, basis)]
    recorded = basis != "latency" or not are_unprofiled((first, second))
    differences += _condition_differences(first, second, recorded)
    return (
        *differences,
        *_state_differences(a, b, is_comparable=not launches_differ_by_cause(differences)),
    )


def step_differences(a: Sequence[StepTables], b: Sequence[StepTables]) -> tuple[Difference, ...]:
    """Every condition that differs between servers, by the first recording of each side."""
    first, second = a[0], b[0]
    clocks = _column_differences(first.steps, second.steps, "recorded")
    return (*clocks, *_condition_differences(first, second, recorded=True))


def _condition_differences(
    first: Tables | StepTables, second: Tables | StepTables, recorded: bool
) -> Iterator[Difference]:
    for group in ("environment", "settings"):
        left, right = _flat(getattr(first, group)), _flat(getattr(second, group))
        for name in sorted({*left, *right}):
            one, other = left.get(name, "not recorded"), right.get(name, "not recorded")
            if one != other:
                yield Difference(f"{group}.{name}", one, other, _bearing(group, name, recorded))


def launches_differ_by_cause(found: Iterable[Difference]) -> bool:
    """Whether a listed difference can itself change the launch cost: device, driver, torch …"""
    return any(difference.name.startswith("environment.") for difference in found)


def are_unprofiled(captures: Iterable[Tables]) -> bool:
    """Whether all latencies were taken without a profiler, or scaled to such."""
    return all(_sources(tables) <= UNPROFILED for tables in captures)


def _state_differences(
    a: Sequence[Tables], b: Sequence[Tables], *, is_comparable: bool
) -> Iterator[Difference]:
    """Signs that the machine was in another state for A than for B."""
    left, right = [t.state for t in a], [t.state for t in b]
    if is_comparable:
        bearings: tuple[tuple[float, Bearing], ...] = (
            (LAUNCH_LIMIT_UNDISTURBED, "withholds host times"),
            (LAUNCH_LIMIT, "withholds latencies"),
        )
        for limit, bearing in bearings:
            launches = launch_difference(left, right, limit)
            if launches:
                yield Difference(launches.name, f"{launches.a:,.0f}", f"{launches.b:,.0f}", bearing)
                break
    load = load_difference(left, right)
    if load:
        yield Difference(load.name, f"{load.a:.1f}", f"{load.b:.1f}", "withholds latencies")


def _sources(tables: Tables) -> set[str]:
    samples = tables.samples
    return set(samples["latency_source"].dropna()) if "latency_source" in samples else {"recorded"}


def _column_differences(a: pd.DataFrame, b: pd.DataFrame, basis: Basis) -> Iterator[Difference]:
    """Clocks and latency sources that differ between A and B."""
    bearings: tuple[tuple[str, Bearing], ...] = (("clock", "withholds all"),)
    if basis == "latency":
        bearings += (("latency_source", "withholds host times"),)
    for name, bearing in bearings:
        if name not in a or name not in b:
            continue
        left, right = (", ".join(sorted(set(table[name].dropna()))) for table in (a, b))
        if left != right:
            yield Difference(name, left, right, bearing)


def _bearing(group: str, name: str, recorded: bool) -> Bearing:
    mode = group == "settings" and name in ("profile", "profile_mode", "mode")
    return "withholds host times" if mode and recorded else "listed"


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested settings as text, by dotted names."""
    if isinstance(value, Mapping):
        return {
            key: text
            for inner, item in value.items()
            for key, text in _flat(item, f"{name}.{inner}" if name else str(inner)).items()
        }
    if isinstance(value, (list, tuple)):
        return {
            key: text
            for i, item in enumerate(value)
            for key, text in _flat(item, f"{name}[{i}]").items()
        }
    return {name: str(value)}
