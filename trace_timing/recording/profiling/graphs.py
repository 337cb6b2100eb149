"""Detect replays of CUDA graphs from Python, without a profiler session."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Replays:
    """Number of replays so far."""

    seen: int = 0


@contextmanager
def watch_replays(replays: Replays | None = None) -> Iterator[Replays]:
    """Count `torch.cuda.CUDAGraph.replay` calls inside the context, on every graph of the process.

    torch's own graph trees call this Python method too. A graph replayed by C++ code is not
    counted; only a session's trace shows it.
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
