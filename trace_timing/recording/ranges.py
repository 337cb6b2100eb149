"""Stage boundaries of one model's generate(): first form, greedy decoding of a LLaVA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from trace_timing.recording.boundaries import Boundary, Sink
from trace_timing.recording.resolver import ModelStages


class Attachment:
    """The hooks of one model; inert while there is no sink."""

    def __init__(self, stages: ModelStages, sink_of: Callable[[], Sink | None]) -> None:
        self._stages = stages
        self._sink_of = sink_of
        self._wrapped: list[tuple[Any, str]] = []
        self._step = -1

    def __enter__(self) -> Attachment:
        model = self._stages.model
        self._wrap(model, "generate", self._generate)
        self._wrap(model, "forward", self._forward)
        self._wrap(model.model, "get_image_features", self._inside("vision"))
        for encoder in self._stages.encoder:
            self._wrap(encoder, "forward", self._inside("vision_encoder"))
        for projector in self._stages.projector:
            self._wrap(projector, "forward", self._inside("projector"))
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name in self._wrapped:
            with suppress(KeyError):
                del vars(owner)[name]
        self._wrapped.clear()

    @contextmanager
    def generate_range(self) -> Iterator[None]:
        """A generate range around a user's own loop."""
        with self._open("generate"):
            yield

    @contextmanager
    def _open(self, stage: Boundary, step: int | None = None) -> Iterator[None]:
        sink = self._sink_of()
        if sink is None:
            yield
            return
        sink.enter(stage, step)
        try:
            yield
        finally:
            sink.exit()

    def _wrap(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        import functools

        original = getattr(owner, name)
        vars(owner)[name] = functools.wraps(original)(around(original))
        self._wrapped.append((owner, name))

    def _inside(self, stage: Boundary) -> Callable[[Any], Any]:
        def around(original: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                with self._open(stage):
                    return original(*args, **kwargs)

            return call

        return around

    def _generate(self, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._step = -1
            with self._open("generate"):
                try:
                    return original(*args, **kwargs)
                finally:
                    sink = self._sink_of()
                    if sink is not None and self._step >= 0:
                        sink.exit()

        return call

    def _forward(self, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            sink = self._sink_of()
            if sink is not None and self._step >= 0:
                sink.exit()
            self._step += 1
            with self._open("decode" if self._step else "prefill", self._step or None):
                output = original(*args, **kwargs)
            if sink is not None:
                sink.enter("sampling", self._step)
            return output

        return call


def attach(stages: ModelStages, sink_of: Callable[[], Sink | None]) -> Attachment:
    """The hooks, to be entered."""
    return Attachment(stages, sink_of)
