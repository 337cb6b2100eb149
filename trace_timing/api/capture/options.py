"""Options of a capture."""

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

#: `controls-first`: the controls of all samples, then the sessions of all, so that no control runs
#: in a process that has profiled. `interleaved`: for each sample its controls, its session and a
#: detach, so that both are close in time.
Order = Literal["controls-first", "interleaved"]


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """Options of a capture, which the manifest records as its settings."""

    profile: ProfileMode = "ranges"
    #: A user's own loop meets each sample once, so it is always interleaved.
    order: Order = "interleaved"
    #: Controls of each sample; None for 2, and 5 of every tenth, which give the spread.
    control: int | None = None
    #: Record one of every so many samples; the others get only controls.
    record_every: int = 1
    #: Decode steps to record of each run, spread over it; recording is off in the others. "all"
    #: records every step, as do captures that cannot switch recording (the record has the reason).
    record_steps: RecordSteps = RECORD_STEPS
    #: Take further controls of a sample until the half-width of its total's 95 % interval is below
    #: this share (`"3%"` or 0.03), or it has `most_controls`.
    precision: str | float | None = None
    most_controls: int = MOST_CONTROLS
    cuda_cache: CachePolicy = "keep"
    keep: str = "both"
    #: `components` also opens a range around each component of each layer, which slows the host.
    detail: Literal["stages", "components"] = "stages"
    stages_of: Path | None = None
    #: Run each new input shape until it is steady before its first control.
    warm_up: bool = True
    #: Whether torchrun's ranks make each run together, and each records it (tensor parallel).
    tensor_parallel: bool = False
    resume: bool = False
    #: The device's rates from `trace-timing doctor --rates -o FILE`: the file or its JSON.
    rates: Path | Mapping[str, Any] | None = None
    #: Further settings for the manifest: the model's name, the command's options.
    settings: Mapping[str, Any] = field(default_factory=dict)
