"""Can two captures be held against each other at all: what differs, and what that forbids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Bearing = Literal["listed", "withholds host times", "withholds all"]


@dataclass(frozen=True)
class Difference:
    """One condition in which A and B differ, and what follows from it."""

    name: str
    a: str
    b: str
    bearing: Bearing


def differences(
    environments: tuple[Mapping[str, Any], Mapping[str, Any]],
    settings: tuple[Mapping[str, Any], Mapping[str, Any]],
    samples: tuple[pd.DataFrame, pd.DataFrame],
) -> tuple[Difference, ...]:
    """Every condition that differs.

    Another device, version or setting is what a comparison may be about: it is listed. Another
    clock is no comparison. Another profile mode stretches the host by another factor: host times
    say nothing then, device times still do.
    """
    found = [*_clocks(samples)]
    for group, (a, b) in (("environment", environments), ("settings", settings)):
        flat_a, flat_b = _flat(a), _flat(b)
        for name in sorted({*flat_a, *flat_b}):
            left, right = flat_a.get(name, "not recorded"), flat_b.get(name, "not recorded")
            if left != right:
                found.append(Difference(f"{group}.{name}", left, right, _bearing(group, name)))
    return tuple(found)


def _clocks(samples: tuple[pd.DataFrame, pd.DataFrame]) -> list[Difference]:
    a, b = (", ".join(sorted(set(table["clock"].dropna()))) for table in samples)
    return [Difference("clock", a, b, "withholds all")] if a != b else []


def _bearing(group: str, name: str) -> Bearing:
    mode = group == "settings" and name in ("profile", "profile_mode", "mode")
    return "withholds host times" if mode else "listed"


def _flat(value: Any, name: str = "") -> dict[str, str]:
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
