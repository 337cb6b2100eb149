"""What the hooks tell a recorder: a stage begins, the innermost open stage ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from trace_timing.stages import Stage

Boundary = Stage | Literal["generate"]


class Sink(Protocol):
    """Takes the boundaries of one generate() call, properly nested, on the generating thread.

    The profiled run writes a `record_function` range at each, the control records a CUDA event.
    """

    def enter(self, stage: Boundary, step: int | None) -> None:
        """A stage begins inside the innermost open one; `step` numbers decode and sampling."""

    def exit(self) -> None:
        """The innermost open stage ends."""


@dataclass(frozen=True, kw_only=True)
class GenerationFacts:
    """What one generate() call was seen to do, counted at its boundaries.

    `prefills` is 1 but for an own loop that generates several times. A chunked prefill counts as
    one forward. Assisted decoding makes fewer `decode_steps` than tokens, and says how often
    candidates were drawn (`drafts`) and how many forwards of the assistant that took.
    """

    forwards: int
    prefills: int
    decode_steps: int
    visions: int
    drafts: int
    draft_forwards: int
    #: Rows of the output (batch × num_return_sequences); None where the output has no such shape.
    sequences: int | None
