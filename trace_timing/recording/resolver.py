"""Where a model keeps its stages: first form, for models laid out like LLaVA."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_timing.errors import CaptureError


@dataclass(frozen=True, kw_only=True)
class ModelStages:
    """The modules of each stage."""

    model: Any
    encoder: tuple[Any, ...]
    projector: tuple[Any, ...]
    language: tuple[Any, ...]


def resolve(model: Any, overrides: Mapping[str, Any] | None = None) -> ModelStages:
    """The stages of a model, by the names that LLaVA gives them.

    Raises:
        CaptureError: it has no vision tower.
    """
    inner = getattr(model, "model", model)
    if not hasattr(inner, "vision_tower"):
        raise CaptureError("the stages of this model cannot be found")
    return ModelStages(
        model=model,
        encoder=(inner.vision_tower,),
        projector=(inner.multi_modal_projector,),
        language=(inner.language_model,),
    )


def read_overrides(path: Path) -> Mapping[str, Any]:
    """The tables of `--stages-of`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(path.read_text())
