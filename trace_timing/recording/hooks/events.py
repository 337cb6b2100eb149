"""Interface between hooks and recorders: a stage begins, the innermost open stage ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from trace_timing.stages import Stage

Boundary = Stage | Literal["generate"]


class Sink(Protocol):
    """Receives the boundaries of one generate() call, properly nested, on the generating thread.

    A recorded run makes `record_function` ranges of them, a control records a CUDA event at each.
    """

    def enter(self, stage: Boundary, step: int | None) -> None:
        """A stage begins inside the innermost open one; `step` numbers decode and sampling."""

    def exit(self) -> None:
        """The innermost open stage ends."""


@dataclass(frozen=True, kw_only=True)
class GenerationFacts:
    """Counts of one generate() call, made at its boundaries.

    `prefills` is above 1 only for a user's own loop that generates several times. A chunked prefill
    counts as one forward. Assisted decoding makes fewer `decode_steps` than tokens; `drafts` is how
    often candidates were drawn, `draft_forwards` how many forwards of the assistant that took.
    """

    forwards: int
    prefills: int
    decode_steps: int
    visions: int
    drafts: int
    draft_forwards: int
    #: Rows of the output (batch × num_return_sequences); None where the output has no such shape.
    sequences: int | None
