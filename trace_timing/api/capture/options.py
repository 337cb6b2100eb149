"""How to capture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trace_timing.recording.runs.calls import CachePolicy
from trace_timing.recording.runs.plan import MOST_CONTROLS
from trace_timing.recording.runs.step_plan import RECORD_STEPS
from trace_timing.recording.runs.step_planner import RecordSteps
from trace_timing.records.manifest import ProfileMode

#: `controls-first`: the controls of all samples, then the sessions of all samples, so that every
#: control is one of a process that has never profiled. `interleaved`: sample by sample its
#: controls, its session and a detach, so that both are close in time.
Order = Literal["controls-first", "interleaved"]


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """How to record; what the manifest's settings repeat."""

    profile: ProfileMode = "ranges"
    #: A loop of one's own comes by each sample once, so it is always interleaved.
    order: Order = "interleaved"
    #: Controls of each sample; None for 2, and 5 of every tenth, from which the spread is known.
    control: int | None = None
    #: Record every so many samples only; the others have controls alone.
    record_every: int = 1
    #: Decode steps to record of each run, spread over it; recording is off in the others. "all"
    #: records every step, and so do captures that cannot switch it (the record says why).
    record_steps: RecordSteps = RECORD_STEPS
    #: Take further controls of a sample until the half-width of its total's 95 % interval is below
    #: this share (`"3%"` or 0.03), or it has `most_controls`.
    precision: str | float | None = None
    most_controls: int = MOST_CONTROLS
    cuda_cache: CachePolicy = "keep"
    keep: str = "both"
    #: `components` opens a range around each part of each layer as well; that slows the host.
    detail: Literal["stages", "components"] = "stages"
    stages_of: Path | None = None
    #: Run each new input shape until it is steady before its first control.
    warm_up: bool = True
    #: The ranks of torchrun make each run together, and each records it.
    tensor_parallel: bool = False
    resume: bool = False
    #: What `trace-timing doctor --rates -o FILE` measured on this machine: a file or its JSON.
    rates: Path | Mapping[str, Any] | None = None
    #: What else the manifest should say: the model's name, the command's options.
    settings: Mapping[str, Any] = field(default_factory=dict)
