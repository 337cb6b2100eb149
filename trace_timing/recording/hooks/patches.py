"""Replace methods on one object, and restore them exactly."""

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
        """Put the original back, unless another library wrapped ours."""
        # If another library wrapped ours since (accelerate does), leave it: ours is inert by then.
        if self.namespace.get(self.name) is not self.wrapper:
            return
        if self.previous is _ABSENT:
            del self.namespace[self.name]
        else:
            self.namespace[self.name] = self.previous


class Patches:
    """Wrappers set as attributes of instances, so that classes and other instances are unchanged.

    A wrapper of `forward` sees both `module(...)` and `module.forward(...)`, which a forward hook
    does not, and `functools.wraps` keeps the signature against which generate() checks arguments.
    """

    def __init__(self) -> None:
        self._patches: list[_Patch] = []

    def wrap(self, owner: object, name: str, around: Callable[[Function], Function]) -> None:
        """Replace `owner.name` by `around(owner.name)`; twice on one method wraps twice."""
        original = getattr(owner, name)
        wrapper = around(original)
        # A compiled call is no function: it may lack attributes that functools.wraps copies.
        functools.update_wrapper(wrapper, original)
        namespace = vars(owner)
        patch = _Patch(namespace, name, namespace.get(name, _ABSENT), wrapper)
        self._patches.append(patch)
        patch.put()

    def remove(self) -> None:
        """Restore everything, in reverse order."""
        while self._patches:
            self._patches.pop().take()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Restore the objects for the duration of a call into compiled code.

        torch.compile would otherwise trace the wrappers, and compile again once they are gone.
        """
        for patch in reversed(self._patches):
            patch.take()
        try:
            yield
        finally:
            for patch in self._patches:
                patch.put()
