"""Whether CUDA graphs are replayed, seen from Python before any profiler session."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Replays:
    """Replays counted so far."""

    seen: int = 0


@contextmanager
def watch_replays(replays: Replays | None = None) -> Iterator[Replays]:
    """Count `torch.cuda.CUDAGraph.replay` calls within, on every graph of the process.

    The method is Python's, so torch's own graph trees are counted as well; a graph that C++ code
    replays is not, and shows in a session's records alone.
    """
    replays = replays or Replays()
    owner = torch.cuda.CUDAGraph
    original = owner.replay

    @functools.wraps(original)
    def counted(graph: Any, *args: Any, **kwargs: Any) -> Any:
        replays.seen += 1
        return original(graph, *args, **kwargs)

    owner.replay = counted
    try:
        yield replays
    finally:
        owner.replay = original
