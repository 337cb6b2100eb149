"""Ranges around the components of every layer: `component:attention[3]`, for `--detail components`.

Modules are recognised by the last name of their path, so one list serves every family with the
usual names. Two hooks for each module and forward slow the host, which is not corrected for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: First match wins, on a module's path.
_PARTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("head", re.compile(r"(^|\.)(lm_head|embed_out|output_projection)$")),
    ("attention", re.compile(r"\.(self_attn|self_attention|attn|attention|cross_attn)$")),
    # A router is a `gate` beside experts; the `gate` of a gated MLP is called gate_proj.
    ("router", re.compile(r"\.(gate|router)$")),
    ("experts", re.compile(r"\.experts$")),
    ("mlp", re.compile(r"\.(mlp|feed_forward|ffn|block_sparse_moe)$")),
    ("norm", re.compile(r"(^|\.)\w*(norm|ln_f|layernorm)\d?$", re.IGNORECASE)),
)
_LAYER = re.compile(r"\.(?:layers|layer|blocks|resblocks|h)\.(\d+)\.")


def component_of(path: str) -> str | None:
    """The range name of a module by its path below the model; None if it is no component."""
    part = next((part for part, pattern in _PARTS if pattern.search(path)), None)
    if part is None:
        return None
    layer = _LAYER.search(f".{path}.")
    return f"component:{part}" + (f"[{layer[1]}]" if layer else "")


@contextmanager
def component_ranges(model: Any, is_profiled: Callable[[], bool]) -> Iterator[None]:
    """Put hooks on every component of the model; removed on leaving.

    Args:
        is_profiled: called at each call of a component; only where true a range is opened.
    """
    handles: list[Any] = []
    try:
        for path, module in model.named_modules():
            name = component_of(path)
            if name is not None:
                handles += _hook(module, name, is_profiled)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(module: Any, name: str, is_profiled: Callable[[], bool]) -> list[Any]:
    """Put a hook before and after the module's forward."""
    import torch

    # A stack: a module may call itself, and one call may be profiled and the next not.
    opened: list[Any] = []

    def begin(*_: Any) -> None:
        if torch.compiler.is_compiling():
            return
        scope = torch.profiler.record_function(name) if is_profiled() else None
        if scope is not None:
            scope.__enter__()
        opened.append(scope)

    def end(*_: Any) -> None:
        if torch.compiler.is_compiling() or not opened:
            return
        if (scope := opened.pop()) is not None:
            scope.__exit__(None, None, None)

    return [
        module.register_forward_pre_hook(begin, prepend=True),
        module.register_forward_hook(end, always_call=True),
    ]
