"""The hooks of a capture on its model, and generate ranges for a user's own loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from trace_timing.recording.hooks.attach import Attachment


class Hooks(AbstractContextManager["Hooks"]):
    """The hooks of a capture: on during it, off around a bare control."""

    def __init__(
        self,
        attach: Callable[[], Attachment],
        details: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._attach = attach
        self._details = details
        self._detail: AbstractContextManager[None] = nullcontext()
        self._attachment: Attachment | None = None

    def __enter__(self) -> Hooks:
        self._attachment = self._attach()
        self._attachment.__enter__()
        self._detail = self._details()
        self._detail.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._attachment is not None:
            self._detail.__exit__(None, None, None)
            self._attachment.__exit__(None, None, None)
            self._attachment = None

    @contextmanager
    def unhooked(self) -> Iterator[None]:
        """Take all hooks off inside the context."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def generate_range(self) -> AbstractContextManager[Any]:
        """A `generate` range around a user's own loop."""
        if self._attachment is None:  # a bare control
            return nullcontext()
        return self._attachment.generate_range()
