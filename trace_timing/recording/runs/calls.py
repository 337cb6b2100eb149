"""A repeatable generate() call and its results, input shapes and random state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from trace_timing.recording.hooks.events import Sink
from trace_timing.records.manifest import ProfileMode
from trace_timing.records.runs import RunRecord

CachePolicy = Literal["keep", "empty"]
#: Name (or place) and shape of each input tensor.
InputShape = tuple[tuple[str, tuple[int, ...]], ...]
#: State of the host's random generator and each device's.
RandomState = tuple[torch.Tensor, list[torch.Tensor]]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings that are the same for every run of a capture."""

    profile: ProfileMode = "ranges"
    cuda_cache: CachePolicy = "keep"
    #: Warm up each new input shape, and make one discarded session before the first stored one.
    warm_up: bool = True


@dataclass(frozen=True, kw_only=True)
class Call:
    """One repeatable generate() call."""

    sample_id: str
    repeat: int
    run: Callable[[], Any]
    #: The same call with fewer new tokens, for the warm-up; None where it cannot be shortened.
    short: Callable[[], Any] | None = None
    #: Shapes of the input tensors; None where there are none.
    shape: InputShape | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: A call that must not be made twice (a user's own loop with effects): no warm-up, no retry.
    repeatable: bool = True


@dataclass(frozen=True, kw_only=True)
class MadeRun:
    """The output of one call, and its record."""

    output: Any
    record: RunRecord


class SinkSlot:
    """Holds the sink of the current run, where hooks look for it; None makes them inert."""

    def __init__(self) -> None:
        self.sink: Sink | None = None

    def __call__(self) -> Sink | None:
        """The current sink."""
        return self.sink


def shape_of(*values: Any, **named: Any) -> InputShape | None:
    """Shapes of all tensors in the arguments, also in lists and mappings; None without any."""
    places = {**{str(place): value for place, value in enumerate(values)}, **named}
    shapes = sorted(_shapes(places, ""))
    return tuple(shapes) or None


def _shapes(value: Any, name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    if isinstance(value, torch.Tensor):
        yield name, tuple(value.shape)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _shapes(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _shapes(item, f"{name}.{place}")


def random_state() -> RandomState:
    """The random state of host and devices, from which each run of a sample starts."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda


def restore(state: RandomState) -> None:
    """Set the random generators to a state."""
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def devices_of(model: Any) -> list[torch.device]:
    """The CUDA devices that hold parameters of the model, by index."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    return sorted(devices, key=lambda device: device.index or 0)


def synchronize(devices: list[torch.device]) -> None:
    """Wait for all work on these devices."""
    for device in devices:
        torch.cuda.synchronize(device)
