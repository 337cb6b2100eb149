"""The stages of a generate() call, and the names of the ranges that mark them."""

from __future__ import annotations

from typing import Literal

Stage = Literal[
    "text_encoder",
    "vision_encoder",
    "projector",
    "vision",
    "prefill",
    "mixed",
    "decode",
    "sampling",
    "draft",
    "other",
    "unattributed",
]


#: In the order of a generate() call; the order of rows in every table and of colours in figures.
STAGES: tuple[Stage, ...] = Stage.__args__  # type: ignore[attr-defined]


VISION_STAGES: tuple[Stage, ...] = ("vision_encoder", "projector", "vision")


#: Stages whose ranges carry a number: decode[1…N−1], sampling[0…N−1].
NUMBERED_STAGES: tuple[Stage, ...] = ("decode", "sampling")


#: Forwards of the language model. A server batches requests, so that one forward can prefill some
#: and decode others: `mixed`, which is never split between the two.
STEP_STAGES: tuple[Stage, ...] = ("prefill", "mixed", "decode")


GENERATE = "generate"


#: Names of the recorder's marks in a trace. Recording was off during the first; the second is the
#: step after it, which is recorded but not counted, because unrecorded work still runs in it.
RECORDING_OFF, RECORDING_GUARD = "recording_off", "recording_guard"


def range_name(stage: Stage | Literal["generate"], step: int | None = None) -> str:
    """The name of the `record_function` range of a stage: `decode[3]`, `prefill`, `generate`."""
    return stage if step is None else f"{stage}[{step}]"
