"""Values are frozen: a change makes a new one, so that what follows from one can be remembered."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import is_dataclass

import trace_timing

LAYERS = ("records", "trace", "timeline", "stats")
#: Counts up while a document is read.
CHANGES = {"trace_timing.trace.kineto.text.Repairs"}


def dataclasses_of(layer: str) -> Iterator[type]:
    """All dataclasses that the modules of a layer define."""
    prefix = f"trace_timing.{layer}."
    for found in pkgutil.walk_packages([f"{trace_timing.__path__[0]}/{layer}"], prefix):
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            own = inspect.isclass(value) and value.__module__ == found.name
            if own and is_dataclass(value):
                yield value


def test_every_value_that_layers_hand_to_each_other_is_frozen() -> None:
    classes = [one for layer in LAYERS for one in dataclasses_of(layer)]
    assert len(classes) > 100
    changing = {
        f"{one.__module__}.{one.__qualname__}"
        for one in classes
        if not one.__dataclass_params__.frozen  # type: ignore[attr-defined]
    }
    assert changing == CHANGES
