"""A sink that keeps what it is told, and the questions that tests ask of it."""

from __future__ import annotations

from typing import Any

import torch


class Recorder:
    """Keeps boundaries as a tree written in one line: `generate(vision(…) prefill …)`."""

    def __init__(self) -> None:
        self.open: list[str] = []
        #: (name, names of what it is inside of), in order of begin.
        self.ranges: list[tuple[str, tuple[str, ...]]] = []

    def enter(self, stage: str, step: int | None) -> None:
        name = stage if step is None else f"{stage}[{step}]"
        self.ranges.append((name, tuple(self.open)))
        self.open.append(name)

    def exit(self) -> None:
        self.open.pop()

    def names(self) -> list[str]:
        return [name for name, _ in self.ranges]

    def below(self, *parents: str) -> list[str]:
        """Names directly inside a chain of parents, in order."""
        return [name for name, inside in self.ranges if inside == parents]

    def count(self, stage: str) -> int:
        return sum(name.partition("[")[0] == stage for name in self.names())


def without_vision(names: list[str]) -> list[str]:
    """What is left beside vision, which sits in the prefill up to transformers 5.17."""
    return [name for name in names if name not in ("vision", "vision_encoder", "projector")]


def steps(tokens: int) -> list[str]:
    """What follows vision in a generate() of so many tokens."""
    later = [name for i in range(1, tokens) for name in (f"decode[{i}]", f"sampling[{i}]")]
    return ["prefill", "sampling[0]", *later]


def fingerprint(model: torch.nn.Module) -> dict[str, Any]:
    """What a model's modules hold in their own namespaces, hooks included."""
    held: dict[str, Any] = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name.endswith("_hooks"):
                held[f"{path}:{name}"] = dict(value)
            else:  # a model's own state (Qwen's rope_deltas) may change with every generate()
                held[f"{path}:{name}"] = id(value) if callable(value) else None
    return held
