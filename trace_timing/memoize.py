"""Cache a function's result per object, weakly keyed on its last argument."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


def cached_per_object(function: Function) -> Function:
    """Cache results for as long as the last argument of the call lives.

    The last argument must be immutable, compared by identity, and decide the result; the other
    arguments follow from it, as a run's trace does. The result must not refer to it, or neither is
    ever freed. A cached array is made read-only.
    """
    results: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    @wraps(function)
    def cached(*arguments: Any) -> Any:
        try:
            return results[arguments[-1]]
        except KeyError:
            result = results[arguments[-1]] = function(*arguments)
            if isinstance(result, np.ndarray):
                result.flags.writeable = False  # it is shared
            return result

    return cached  # type: ignore[return-value]
