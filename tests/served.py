"""Traces as vLLM leaves them: forwards named with their batch, in Kineto's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Forward:
    """One forward: requests and tokens of prompts, requests that are given tokens; µs."""

    us: int
    busy_us: int
    generating: int = 0
    prompts: int = 0
    tokens: int = 0

    @property
    def name(self) -> str:
        """As vLLM since 0.14 names it."""
        context = f"context_{self.prompts}({self.tokens})"
        return f"execute_{context}_generation_{self.generating}({self.generating})"


def write_served(path: Path, forwards: Iterable[Forward], *, kernel: str = "k") -> Path:
    """A trace of these forwards, 10 µs apart; each launches one kernel."""
    events, at = [], 0
    for number, forward in enumerate(forwards, 1):
        host = {"ph": "X", "pid": 1, "tid": 1}
        launch = {"correlation": number}
        events += [
            {
                **host,
                "cat": "user_annotation",
                "name": forward.name,
                "ts": at,
                "dur": forward.us,
            },
            {
                **host,
                "cat": "cuda_runtime",
                "name": "cudaLaunchKernel",
                "ts": at + 5,
                "dur": 2,
                "args": launch,
            },
            {
                "ph": "X",
                "pid": 0,
                "tid": 7,
                "cat": "kernel",
                "name": kernel,
                "ts": at + 10,
                "dur": forward.busy_us,
                "args": {**launch, "device": 0, "stream": 7},
            },
        ]
        at += forward.us + 10
    path.write_text(json.dumps({"traceEvents": events}))
    return path
