"""Methods replaced on one object, and put back exactly as they were."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]
_ABSENT: Any = object()


@dataclass(frozen=True)
class _Patch:
    namespace: dict[str, Any]
    name: str
    previous: Any
    wrapper: Function

    def put(self) -> None:
        self.namespace[self.name] = self.wrapper

    def take(self) -> None:
        # Whoever wrapped the wrapper since (accelerate does) keeps its own; ours is inert by then.
        if self.namespace.get(self.name) is not self.wrapper:
            return
        if self.previous is _ABSENT:
            del self.namespace[self.name]
        else:
            self.namespace[self.name] = self.previous


class Patches:
    """Wrappers set in the instance's own namespace, so that class and other instances stay as is.

    A wrapper of `forward` sees `module(...)` and `module.forward(...)` alike, which a forward hook
    does not, and `functools.wraps` keeps the signature that generate() checks its arguments by.
    """

    def __init__(self) -> None:
        self._patches: list[_Patch] = []

    def wrap(self, owner: object, name: str, around: Callable[[Function], Function]) -> None:
        """Replace `owner.name` by `around(owner.name)`; twice on one method wraps twice."""
        original = getattr(owner, name)
        wrapper = around(original)
        # A compiled call is an object of another kind: it may lack the names that wraps copies.
        functools.update_wrapper(wrapper, original)
        namespace = vars(owner)
        patch = _Patch(namespace, name, namespace.get(name, _ABSENT), wrapper)
        self._patches.append(patch)
        patch.put()

    def remove(self) -> None:
        """Put everything back, last first."""
        while self._patches:
            self._patches.pop().take()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """The objects as they were, for the time of a call into compiled code.

        torch.compile would otherwise trace the wrappers, and compile again once they are gone.
        """
        for patch in reversed(self._patches):
            patch.take()
        try:
            yield
        finally:
            for patch in self._patches:
                patch.put()
