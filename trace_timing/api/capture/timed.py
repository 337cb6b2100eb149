"""timed(): time the generate() calls that an evaluation makes somewhere inside."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from trace_timing.api.capture.capture import capture
from trace_timing.api.capture.session import Session
from trace_timing.errors import UsageError
from trace_timing.recording.hooks.patches import Function, Patches

T = TypeVar("T")


def timed(
    function: Callable[..., T],
    model: Any,
    directory: str | Path,
    *,
    at_most: int | None = None,
    **options: Any,
) -> Callable[..., T]:
    """Wrap a function so that every `model.generate()` inside its calls is captured.

        evaluate = trace_timing.timed(harness.evaluate, harness.model, "traces/")
        scores = evaluate(tasks)

    Each generate() is a sample, `call-000000` and so on, and is made several times: as its
    controls, then recorded. The function gets the output of the last one. Calls of generate() by
    other threads meanwhile are captured too.

    Args:
        model: the object on which `generate` is called, as for `capture`.
        at_most: time only the first so many calls; later ones are made once, unmeasured.
        options: fields of `CaptureOptions`, by name.
    Raises:
        UsageError: the model has no generate().
        TraceTimingError: as `capture`, when the wrapped function is called.
    """
    owner = getattr(model, "_orig_mod", model)
    if not callable(getattr(owner, "generate", None)):
        raise UsageError(
            f"{type(model).__name__} has no generate()",
            remedy="give timed() the transformers model that the evaluation holds",
        )

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> T:
        calls = _Calls(model, at_most)
        # Before the capture's hooks, so that those are outermost also after a bare control.
        patches = Patches()
        patches.wrap(owner, "generate", calls.entry)
        try:
            with capture(directory, model, **options) as calls.session:
                result = function(*args, **kwargs)
        finally:
            patches.remove()
        if not calls.made:
            warnings.warn(
                f"{getattr(function, '__name__', 'the function')} never called generate() of this "
                f"model: {directory} holds no run. Give timed() the object that it is called on.",
                stacklevel=2,
            )
        return result

    return around


class _Calls:
    """Replaces generate() for one evaluation: each call goes to the session; the session's own
    calls go to the model."""

    def __init__(self, model: Any, at_most: int | None) -> None:
        self._model = model
        self._at_most = at_most
        self._inside = False
        self.session: Session | None = None
        self.made = 0

    def entry(self, original: Function) -> Function:
        """The replacement of `model.generate`."""
        signature = inspect.signature(original)

        def generate(*args: Any, **kwargs: Any) -> Any:
            full = self._at_most is not None and self.made >= self._at_most
            if self._inside or self.session is None or full:
                return original(*args, **kwargs)
            self._inside = True
            try:
                return self._capture(self.session, signature, args, kwargs)
            finally:
                self._inside = False

        return generate

    def _capture(
        self,
        session: Session,
        signature: inspect.Signature,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Make the runs of one generate() call, as a sample of its own."""
        name = f"call-{self.made:06d}"
        self.made += 1
        inputs = {**signature.bind_partial(*args).arguments, **kwargs}
        return session.generate(name, **inputs)
