"""Wrap methods of a model so that every generate() reports its stages, and unwrap them again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import torch

from trace_timing.errors import CaptureError
from trace_timing.recording.hooks.events import GenerationFacts, Sink
from trace_timing.recording.hooks.generate_call import Generation, VisionPart
from trace_timing.recording.hooks.patches import Function, Patches
from trace_timing.recording.model.locate import ModelStages, find_part

__all__ = ["Attachment", "GenerationFacts", "attach"]

_CONTINUOUS = ("generate_batch", "init_continuous_batching")
#: Method of a chunked prefill → whether it leaves the last prompt token to the decoding loop, as
#: `_prefill_chunking` did until transformers 5 replaced it.
_CHUNKED = {"_prefill": False, "_prefill_chunking": True}

Around = Callable[[Generation, Function, tuple[Any, ...], dict[str, Any]], Any]


def attach(stages: ModelStages, sink_of: Callable[[], Sink | None]) -> Attachment:
    """Report the stages of every outermost generate() of a model until detached.

    Args:
        stages: where the model's stages are, from `locate.resolve`.
        sink_of: called on the generating thread as each outermost generate() begins; if it returns
            None, nothing is reported, at the cost of a comparison a call.
    Returns:
        A context manager. Its end, or `detach`, leaves the model as it was.
    Raises:
        CaptureError: a path of `stages` is not in the model.
    """
    attachment = Attachment(stages, sink_of)
    try:
        _Wrapping(attachment, stages).wrap_all()
    except BaseException:
        attachment.detach()
        raise
    return attachment


class Attachment:
    """The wrappers that `attach` put on a model; `detach` removes them."""

    def __init__(self, stages: ModelStages, sink_of: Callable[[], Sink | None]) -> None:
        self.stages = stages
        self.patches = Patches()
        #: The last generate() with a sink, finished or not.
        self.last: GenerationFacts | None = None
        self._sink_of = sink_of
        self._local = threading.local()

    def __enter__(self) -> Attachment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    def detach(self) -> None:
        """Put every method back; a second call does nothing."""
        self.patches.remove()

    @property
    def current(self) -> Generation | None:
        """The generation under way on this thread."""
        return getattr(self._local, "generation", None)

    @contextmanager
    def generate_range(self) -> Iterator[Generation | None]:
        """An outermost generate range around a user's own loop over the model.

        The first forward in it is the prefill, later ones are decode steps; a generate() in it
        starts with a prefill of its own. Inside another one, or without a sink, it does nothing
        and yields None.
        """
        if self.current is not None or (sink := self._sink_of()) is None:
            yield None
            return
        generation = self._local.generation = Generation(sink)
        try:
            generation.begin()
            yield generation
        finally:
            self._local.generation = None
            try:
                generation.end()
            finally:
                self.last = generation.facts()


class _Wrapping:
    """Puts each kind of wrapper on the modules and methods that `stages` names."""

    def __init__(self, attachment: Attachment, stages: ModelStages) -> None:
        self._attachment = attachment
        self._stages = stages
        self._patches = attachment.patches

    def wrap_all(self) -> None:
        """Wrap inner methods first, so that on a failure generate() is not wrapped yet."""
        stages = self._stages
        self._wrap_vision()
        for path in stages.text_encoder:
            self._wrap_part(path, _text_encoder)
        for path in _forward_paths(stages):
            self._wrap_part(path, _forward)
        for path in stages.generate_entries:
            owner_path, _, method = path.rpartition(".")
            self._wrap_entry(find_part(stages.model, owner_path), method)

    def _wrap_vision(self) -> None:
        """Wrap encoder, projectors and the vision method around them, as far as there are any."""
        stages = self._stages
        projects = bool(stages.projector)
        for path in stages.vision_encoder:
            self._wrap_part(path, _vision_part("vision_encoder", last_projector=not projects))
        for path in stages.projector:
            last = path == stages.projector[-1]
            self._wrap_part(path, _vision_part("projector", last_projector=last))
        for path in stages.vision:
            self._wrap_part(path, _vision(projects=projects))

    def _wrap_part(self, path: str, around: Around) -> None:
        part = find_part(self._stages.model, path)
        if not isinstance(part, torch.nn.Module):
            owner_path, _, method = path.rpartition(".")
            self._wrap(find_part(self._stages.model, owner_path), method, around)
            return
        self._wrap(part, "forward", around)
        # Set by module.compile(), where the whole call, forward included, is compiled code.
        if getattr(part, "_compiled_call_impl", None) is not None:
            self._wrap(part, "_compiled_call_impl", self._unseen(around))

    def _wrap(self, owner: object, method: str, around: Around) -> None:
        """Wrap one method of an owner."""
        attachment = self._attachment

        def wrapped(original: Function) -> Function:
            def call(*args: Any, **kwargs: Any) -> Any:
                if torch.compiler.is_compiling() or (generation := attachment.current) is None:
                    return original(*args, **kwargs)
                return around(generation, original, args, kwargs)

            return call

        self._patches.wrap(owner, method, wrapped)

    def _unseen(self, around: Around) -> Around:
        """`around` for a call into compiled code, with all wrappers lifted during the call."""

        def call(
            generation: Generation,
            original: Function,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
        ) -> Any:
            def bare(*args: Any, **kwargs: Any) -> Any:
                with self._patches.lifted():
                    return original(*args, **kwargs)

            return around(generation, bare, args, kwargs)

        return call

    def _wrap_entry(self, owner: Any, method: str) -> None:
        """Wrap a generate method."""
        self._patches.wrap(owner, method, self._entry)
        for name, leaves_last in _CHUNKED.items():
            if hasattr(owner, name):
                self._wrap(owner, name, _chunks(leaves_last=leaves_last))
        for name in _CONTINUOUS:
            if hasattr(owner, name):
                self._patches.wrap(owner, name, self._refusing)
        if hasattr(owner, "get_compiled_call"):
            self._wrap(owner, "get_compiled_call", self._compiled_call)
        if hasattr(owner, "_get_candidate_generator"):
            self._wrap(owner, "_get_candidate_generator", _candidates)

    def _entry(self, original: Function) -> Function:
        """The wrapper of a generate method: an outermost call begins a Generation."""
        attachment = self._attachment

        def generate(*args: Any, **kwargs: Any) -> Any:
            if (outer := attachment.current) is not None:
                return _nested(outer, original, args, kwargs)
            with attachment.generate_range() as generation:
                _note_prompt(generation, args, kwargs)
                output = original(*args, **kwargs)
                if generation is not None:
                    generation.sequences = _rows(output)
                return output

        return generate

    def _refusing(self, original: Function) -> Function:
        """The wrapper of a way to generate that cannot be captured."""
        attachment = self._attachment

        def call(*args: Any, **kwargs: Any) -> Any:
            if attachment.current is None and attachment._sink_of() is None:
                return original(*args, **kwargs)
            raise CaptureError(
                "continuous batching cannot be captured",
                why="it mixes prefill and decode of many requests in one forward, "
                "in a thread of its own",
                remedy="call generate() without cache_implementation='paged', one batch at a time",
            )

        return call

    def _compiled_call(
        self,
        generation: Generation,
        original: Function,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Get the model's compiled call, and wrap it to report forwards of this generate()."""
        with self._patches.lifted():
            compiled = original(*args, **kwargs)
        # Some models decline and hand out their plain __call__, whose forward is wrapped already.
        if getattr(compiled, "__func__", None) is not None:
            return compiled
        forward = self._unseen(_forward)

        def call(*args: Any, **kwargs: Any) -> Any:
            return forward(generation, compiled, args, kwargs)

        return call


def _forward_paths(stages: ModelStages) -> list[str]:
    """Paths of the model, the language model, and the modules between.

    A user's own loop may call any of them; the outermost that is called makes the step.
    """
    paths = [""]
    for language in stages.language_model:
        names = language.split(".")
        paths += [".".join(names[: i + 1]) for i in range(len(names))]
    owners = (path.rpartition(".")[0] for path in stages.generate_entries)
    unique = dict.fromkeys([*paths, *owners])
    return [
        path for path in unique if callable(getattr(find_part(stages.model, path), "forward", None))
    ]


def _forward(
    generation: Generation, original: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Report a forward around the call."""
    if generation.awaits_prompt:  # a user's own loop, without a generate()
        _note_prompt(generation, args, kwargs)
    generation.begin_forward()
    returned = False
    try:
        output = original(*args, **kwargs)
        returned = True
        return output
    finally:
        generation.end_forward(returned=returned)


def _chunks(*, leaves_last: bool) -> Around:
    """The wrapper of a prefill in chunks."""

    def around(
        generation: Generation, original: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        given = (*args, *kwargs.values())
        size = next((a.prefill_chunk_size for a in given if hasattr(a, "prefill_chunk_size")), None)
        if size is None or not generation.begin_chunks():
            return original(*args, **kwargs)
        returned = False
        try:
            output = original(*args, **kwargs)
            returned = True
            return output
        finally:
            generation.end_chunks(returned=returned, leaves_last=leaves_last)

    return around


def _within(
    begin: Callable[[Generation], int | None], end: Callable[[Generation, int], None]
) -> Around:
    """A wrapper that opens a range before the call and closes it after, if `begin` opened one."""

    def around(
        generation: Generation, original: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if (depth := begin(generation)) is None:
            return original(*args, **kwargs)
        try:
            return original(*args, **kwargs)
        finally:
            end(generation, depth)

    return around


def _vision(*, projects: bool) -> Around:
    return _within(Generation.begin_vision, lambda g, depth: g.end_vision(depth, projects=projects))


def _vision_part(stage: VisionPart, *, last_projector: bool) -> Around:
    return _within(
        lambda g: g.begin_part(stage),
        lambda g, depth: g.end_part(depth, last_projector=last_projector),
    )


_text_encoder = _within(Generation.begin_text_encoder, Generation.close_to)


def _candidates(
    generation: Generation, original: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Wrap the candidate generator of assisted decoding for the duration of this generate()."""
    generator = original(*args, **kwargs)

    def drafting(draw: Function) -> Function:
        def call(*args: Any, **kwargs: Any) -> Any:
            depth = generation.begin_draft()
            try:
                return draw(*args, **kwargs)
            finally:
                generation.end_draft(depth)

        return call

    def counted(forward: Function) -> Function:
        def call(*args: Any, **kwargs: Any) -> Any:
            return _forward(generation, forward, args, kwargs)

        return call

    generation.patches.wrap(generator, "get_candidates", drafting)
    assistant = getattr(generator, "assistant_model", None)
    if assistant is not None and assistant is not getattr(original, "__self__", None):
        generation.patches.wrap(assistant, "forward", counted)
    return generator


def _nested(
    outer: Generation, original: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Handle a generate() inside another one or inside a user's own loop."""
    outer.restart()
    _note_prompt(outer, args, kwargs)
    try:
        output = original(*args, **kwargs)
    finally:
        outer.rest()
    outer.sequences = _rows(output)
    return output


def _note_prompt(
    generation: Generation | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Note in the generation the ids that a generate() or forward was given, if any."""
    first = args[0] if args else kwargs.get("inputs")
    ids = kwargs.get("input_ids", first)
    if generation is not None and isinstance(ids, torch.Tensor) and not ids.is_floating_point():
        generation.given(ids)


def _rows(output: Any) -> int | None:
    sequences = getattr(output, "sequences", output)
    with suppress(AttributeError, IndexError, TypeError):
        return int(sequences.shape[0])
    return None
