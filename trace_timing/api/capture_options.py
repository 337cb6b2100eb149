"""How to capture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trace_timing.recording.runner import CachePolicy
from trace_timing.records import ProfileMode


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """How to record; what the manifest's settings repeat."""

    profile: ProfileMode = "ranges"
    #: Controls for each profiled run.
    control: int = 1
    cuda_cache: CachePolicy = "keep"
    keep: str = "both"
    #: `components` opens a range around each part of each layer as well; that slows the host.
    detail: Literal["stages", "components"] = "stages"
    stages_of: Path | None = None
    #: Until steady before the first sample, and once before each other one.
    warm_up: bool = True
    #: The ranks of torchrun make each run together, and each records it.
    tensor_parallel: bool = False
    resume: bool = False
    #: What `trace-timing doctor --rates -o FILE` measured on this machine: a file or its JSON.
    rates: Path | Mapping[str, Any] | None = None
    #: What else the manifest should say: the model's name, the command's options.
    settings: Mapping[str, Any] = field(default_factory=dict)
