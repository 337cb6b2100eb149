"""What follows from an immutable value alone is computed once, and kept as long as the value is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


def once(function: Function) -> Function:
    """Keep a function's answer for as long as its last argument lives.

    For functions whose last argument, immutable and compared by identity, decides the answer: the
    others follow from it, as a run's trace does. The answer must not hold that argument itself,
    or neither is ever freed.
    """
    answers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    @wraps(function)
    def known_or_computed(*arguments: Any) -> Any:
        try:
            return answers[arguments[-1]]
        except KeyError:
            answer = answers[arguments[-1]] = function(*arguments)
            if isinstance(answer, np.ndarray):
                answer.flags.writeable = False  # it is shared
            return answer

    return known_or_computed  # type: ignore[return-value]
