"""State of one generate() call: turns calls of the model's modules into stage boundaries."""

from __future__ import annotations

from typing import Any, Literal

from trace_timing.recording.hooks.events import Boundary, GenerationFacts, Sink
from trace_timing.recording.hooks.patches import Patches

VisionPart = Literal["vision_encoder", "projector"]
#: Number of open stages directly inside generate.
_IN_GENERATE = 1


class Generation:
    """Turns calls of a model's modules into properly nested stages of one sink.

    Forward 0 is the prefill, whatever its length: without a cache, with candidates to verify or in
    chunks, the number of its tokens does not show it. From the end of forward i to the begin of the
    next is sampling[i]. A model without a method around encoder and projector gets a vision stage
    from the encoder's begin to the last projector's end.

    Not thread-safe: each generating thread has its own.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._open: list[Boundary] = []
        #: Number of open calls of modules that make forwards, and of those that draw candidates.
        self._forward_depth = 0
        self._drafting = 0
        self._in_chunks = False
        self._prefill_next = True
        self._index = 0
        #: Depth of an open vision stage without a method, and whether its last projector has run.
        self._vision_lingers = False
        self._projected = False
        self._counts = {"prefills": 0, "decode_steps": 0, "visions": 0, "drafts": 0}
        self._draft_forwards = 0
        self.sequences: int | None = None
        self._prompts: list[Any] = []
        #: Wrappers on objects that live as long as this call, such as a candidate generator.
        self.patches = Patches()

    @property
    def depth(self) -> int:
        """Number of open stages; pass it to `close_to` to end all opened since."""
        return len(self._open)

    def enter(self, stage: Boundary, step: int | None = None) -> None:
        """A stage begins inside the innermost open one."""
        self._sink.enter(stage, step)
        self._open.append(stage)

    def close_to(self, depth: int) -> None:
        """End the innermost stages until `depth` are open; no effect if fewer are."""
        while len(self._open) > depth:
            self._open.pop()
            self._sink.exit()
        if self._vision_lingers and "vision" not in self._open:
            self._vision_lingers = False

    def begin(self) -> None:
        """The outermost generate() begins."""
        self.enter("generate")

    def end(self) -> None:
        """The outermost generate() ends, by a result or an exception."""
        try:
            self.close_to(0)
        finally:
            self.patches.remove()

    def restart(self) -> None:
        """A generate() begins inside a user's own loop: its first forward is a prefill again."""
        if not self._drafting and not self._forward_depth:
            self._prefill_next = True

    def rest(self) -> None:
        """A generate() inside a user's own loop or another generate() ends, with its sampling."""
        if not self._drafting and not self._forward_depth:
            self.close_to(_IN_GENERATE)

    @property
    def awaits_prompt(self) -> bool:
        """Whether no ids were given yet and no forward was made."""
        return not self._prompts and not self._counts["prefills"]

    def given(self, ids: Any) -> None:
        """A generate() in this call, the call itself or its first forward was given these ids."""
        if not any(ids is known for known in self._prompts):
            self._prompts.append(ids)

    @property
    def prompt(self) -> Any:
        """The ids of the prompt; None where none or several were given."""
        return self._prompts[0] if len(self._prompts) == 1 else None

    def begin_forward(self) -> None:
        """A module that makes forwards is called; the outermost of nested ones counts."""
        self._forward_depth += 1
        if self._drafting:
            self._draft_forwards += self._forward_depth == 1
        elif self._forward_depth > 1:
            # A vision stage without a method ends here at the latest.
            self._end_lingering_vision()
        elif "prefill" not in self._open:  # an open one is a prefill in chunks
            self._begin_step()

    def _begin_step(self) -> None:
        """Begin the next forward: prefill, or a numbered decode step."""
        self.close_to(_IN_GENERATE)
        if self._prefill_next:
            self._prefill_next = False
            self._counts["prefills"] += 1
            self.enter("prefill")
        else:
            self._counts["decode_steps"] += 1
            self.enter("decode", self._index)

    def end_forward(self, *, returned: bool) -> None:
        """The call ends; `returned` is False where an exception ends it."""
        self._forward_depth -= 1
        if self._drafting or self._forward_depth or self._in_chunks:
            return
        self._end_step(returned=returned)

    def _end_step(self, *, returned: bool) -> None:
        self.close_to(_IN_GENERATE)
        if returned:
            self.enter("sampling", self._index)
            self._index += 1

    def begin_chunks(self) -> bool:
        """A prefill of several forwards begins: they make one range. False inside another."""
        if self._drafting or self._in_chunks:
            return False
        self._in_chunks = True
        return True

    def end_chunks(self, *, returned: bool, leaves_last: bool) -> None:
        """The chunks end; with `leaves_last` the next forward, of the last token, is theirs too."""
        self._in_chunks = False
        if "prefill" in self._open and not (returned and leaves_last):
            self._end_step(returned=returned)

    def begin_vision(self) -> int | None:
        """A method that encodes and projects begins; returns the argument of `end_vision`."""
        if self._drafting or "vision" in self._open:
            return None
        return self._open_vision()

    def _open_vision(self) -> int:
        depth = self.depth
        self._counts["visions"] += 1
        self._projected = False
        self.enter("vision")
        return depth

    def end_vision(self, depth: int, *, projects: bool) -> None:
        """The method ends; one that leaves the projector to its caller keeps the stage open."""
        if projects and not self._projected and "vision" in self._open:
            self._vision_lingers = True
        else:
            self.close_to(depth)

    def begin_part(self, stage: VisionPart) -> int | None:
        """Encoder or projector begins; returns the argument of `end_part`, None inside its own
        kind."""
        if self._drafting or stage in self._open:
            return None
        if "vision" not in self._open:
            self._open_vision()
            self._vision_lingers = True
        depth = self.depth
        self.enter(stage)
        return depth

    def end_part(self, depth: int, *, last_projector: bool) -> None:
        """Encoder or projector ends, and a vision stage without a method after the last one."""
        self.close_to(depth)
        self._projected |= last_projector
        if self._projected and "vision_encoder" not in self._open:
            self._end_lingering_vision()

    def _end_lingering_vision(self) -> None:
        if self._vision_lingers:
            self.close_to(self._open.index("vision"))

    def begin_text_encoder(self) -> int | None:
        """The encoder of an encoder-decoder begins; returns the argument of `close_to`."""
        if self._drafting or "text_encoder" in self._open:
            return None
        self._end_lingering_vision()
        depth = self.depth
        self.enter("text_encoder")
        return depth

    def begin_draft(self) -> int:
        """Drawing of candidates begins; its forwards are no steps of the model."""
        depth = self.depth
        self._drafting += 1
        # Self-speculation drafts with the model's own modules, so the count of open calls restarts.
        self._forward_depth, self._outer_forward_depth = 0, self._forward_depth
        if self._drafting == 1:
            self._counts["drafts"] += 1
            self.enter("draft")
        return depth

    def end_draft(self, depth: int) -> None:
        """Drawing of candidates ends."""
        self._drafting -= 1
        self._forward_depth = self._outer_forward_depth
        self.close_to(depth)

    def facts(self) -> GenerationFacts:
        """The counts so far."""
        counts = self._counts
        return GenerationFacts(
            forwards=counts["prefills"] + counts["decode_steps"],
            draft_forwards=self._draft_forwards,
            sequences=self.sequences,
            **counts,
        )
