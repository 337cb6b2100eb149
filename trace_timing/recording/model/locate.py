"""Find a model's vision encoder, projector, language model and generate methods.

By a file of the user, else the table of families, else a search by name. The results are paths
below the unwrapped model, of modules or methods (`vision_backbone.encode_image`).
"""

from __future__ import annotations

import difflib
import fnmatch
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from trace_timing.errors import CaptureError, UsageError
from trace_timing.recording.model.families import (
    ENCODER_NAMES,
    FAMILIES,
    GENERATE_METHODS,
    LANGUAGE_NAMES,
    PROJECTOR_NAMES,
    TEXT_ENCODER_NAMES,
    VISION_METHODS,
    Layout,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Key of an override file → field that it sets.
_FIELD_OF_KEY = {
    "vision": "vision",
    "vision_encoder": "vision_encoder",
    "projector": "projector",
    "language_model": "language_model",
    "text_encoder": "text_encoder",
    "generate": "generate_entries",
    "generate_entries": "generate_entries",
}
#: Wrappers whose inner model keeps its own generate(): torch.compile, DistributedDataParallel.
_WRAPPERS = ("_orig_mod", "module")


@dataclass(frozen=True)
class ModelStages:
    """Where the stages of a model are, as paths below `model`; `""` is the model itself.

    A path names a module or a method. `vision` is a call around encoder and projector, if the model
    has one; `projector` is in the order of the calls.
    """

    model: Any
    vision: tuple[str, ...]
    vision_encoder: tuple[str, ...]
    projector: tuple[str, ...]
    language_model: tuple[str, ...]
    text_encoder: tuple[str, ...]
    #: Methods: `generate`, `language_model.generate`, `generate_from_batch`.
    generate_entries: tuple[str, ...]
    #: `config.model_type`, else the class's name.
    family: str
    source: Literal["table", "search", "file"]

    def paths(self) -> dict[str, tuple[str, ...]]:
        """The paths by field, as in a manifest and an override file."""
        return {name: getattr(self, name) for name in dict.fromkeys(_FIELD_OF_KEY.values())}


def resolve(model: Any, overrides: Mapping[str, Any] | None = None) -> ModelStages:
    """Find a model's stages.

    Args:
        model: a torch module; torch.compile, DistributedDataParallel and PEFT are unwrapped.
        overrides: fields and their path or paths, from `read_overrides`. They take precedence; an
            empty list means that the model has no such stage.
    Raises:
        CaptureError: an image model's encoder was not found (with the candidates seen), or an
            override has a path that is not in the model.
    """
    inner = unwrap(model)
    family = _family(inner)
    layout = FAMILIES.get(family.lower())
    stages = _from_table(inner, family, layout) if layout else None
    if stages is None:
        stages = _from_search(inner, family)
    if overrides:
        stages = _overridden(stages, overrides)
    _check_encoder(stages, overrides or {})
    return stages


def require_module(model: Any) -> None:
    """Refuse a model that is no torch module.

    Raises:
        UsageError: with what to pass instead.
    """
    if isinstance(model, torch.nn.Module):
        return
    kind = type(model).__name__
    if isinstance(getattr(model, "model", None), torch.nn.Module):
        remedy = f"give the {kind}'s .model"
    elif isinstance(model, str):
        remedy = "load it first, or run: trace-timing capture --model " + model
    else:
        remedy = "give what from_pretrained() returned"
    raise UsageError(f"the model is no torch.nn.Module but a {kind}", remedy=remedy)


def read_overrides(path: str | Path) -> Mapping[str, Any]:
    """The fields of a `--stages-of` file, at its top or in a table `[stages]`.

    Raises:
        CaptureError: the file cannot be read, is not TOML or has a key of another name.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CaptureError(
            f"cannot read the stages of {path}",
            why=str(error),
            remedy='write TOML such as: vision_encoder = "model.vision_tower"',
        ) from error
    stages = table.get("stages", table)
    _check_keys(stages)
    return dict(stages)


def unwrap(model: Any) -> Any:
    """The model inside torch.compile, DistributedDataParallel and PEFT."""
    while True:
        modules = vars(model).get("_modules", {})
        inner = next((modules[name] for name in _WRAPPERS if name in modules), None)
        if inner is None and hasattr(type(model), "get_base_model"):
            inner = model.get_base_model()
        if inner is None or inner is model:
            return model
        model = inner


def find_part(model: Any, path: str) -> Any:
    """The module or method of a path; torch.compile is unwrapped on the way but not at its end.

    Raises:
        CaptureError: there is none, with similar names.
    """
    part = model
    for name in path.split(".") if path else ():
        part = getattr(vars(part).get("_modules", {}).get("_orig_mod", part), name, None)
        if part is None:
            raise _missing(model, path)
    return part


def _missing(model: Any, path: str) -> CaptureError:
    known = [name for name, _ in model.named_modules() if name]
    near = difflib.get_close_matches(path, known, n=5, cutoff=0.4) or known[:5]
    return CaptureError(
        f"{type(model).__name__} has no {path!r}",
        why="near it are: " + ", ".join(near),
        remedy="give module paths as model.named_modules() does, or the path of a method",
    )


def _family(model: Any) -> str:
    return str(getattr(getattr(model, "config", None), "model_type", None) or type(model).__name__)


def _from_table(model: Any, family: str, layout: Layout) -> ModelStages | None:
    """The stages by a family's layout; None where this model does not fit it."""

    def find(names: Iterable[str]) -> tuple[str, ...]:
        return _first_below(model, layout.prefixes, names)

    encoder, language = find(layout.encoder), find(layout.language)
    if not encoder or not language:
        return None
    return ModelStages(
        model=model,
        vision=_vision_of(model, layout),
        vision_encoder=encoder,
        projector=find(layout.projector),
        language_model=language,
        text_encoder=_text_encoder(model, language),
        generate_entries=_entries(model, language),
        family=family,
        source="table",
    )


def _vision_of(model: Any, layout: Layout) -> tuple[str, ...]:
    found = (_expand(model, prefix + name) for prefix in layout.prefixes for name in layout.vision)
    return tuple(path for paths in found for path in paths)


def _first_below(model: Any, prefixes: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """Paths of all names, below the first prefix that has any."""
    for prefix in prefixes:
        paths = [path for name in names for path in _expand(model, prefix + name)]
        if paths:
            return tuple(paths)
    return ()


def _expand(model: Any, pattern: str) -> list[str]:
    """The paths that match a pattern; a list of modules stands for its items."""
    paths = [""]
    for name in pattern.split("."):
        paths = [_join(path, hit) for path in paths for hit in _names(model, path, name)]
    return [item for path in paths for item in _called(model, path)]


def _names(model: Any, path: str, name: str) -> Iterator[str]:
    part = find_part(model, path)
    part = vars(part).get("_modules", {}).get("_orig_mod", part)
    if "*" in name:
        yield from fnmatch.filter(vars(part).get("_modules", {}), name)
    elif callable(getattr(part, name, None)):
        yield name


def _called(model: Any, path: str) -> list[str]:
    part = find_part(model, path)
    if type(part).__name__ == "ModuleList":
        return [_join(path, name) for name in part._modules]
    return [path]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _entries(model: Any, language: Iterable[str]) -> tuple[str, ...]:
    """The generate methods of the model and of its language model, to which BLIP-2 delegates."""
    owners = ["", *(path for path in language)]
    return tuple(
        _join(owner, method)
        for owner in owners
        for method in GENERATE_METHODS
        if _generates(find_part(model, owner), method)
    )


def _generates(part: Any, method: str) -> bool:
    """Whether a method can generate: before transformers 4.54 bare decoders had it too."""
    can = getattr(part, "can_generate", None)
    return callable(getattr(part, method, None)) and (not callable(can) or bool(can()))


def _text_encoder(model: Any, language: Iterable[str]) -> tuple[str, ...]:
    """The text encoder, where the language model is an encoder-decoder."""
    for path in language:
        config = getattr(find_part(model, path), "config", None)
        if getattr(config, "is_encoder_decoder", False):
            encoder = _first_below(model, [_join(path, "")], TEXT_ENCODER_NAMES)
            return encoder or _first_below(model, [f"{path}."], TEXT_ENCODER_NAMES)
    return ()


def _from_search(model: Any, family: str) -> ModelStages:
    """The stages by their usual names, the shallowest hit of each."""
    language = _language_model(model)
    encoder = _shallowest(model, ENCODER_NAMES)
    layout = Layout(encoder=(), projector=(), language=(), vision=VISION_METHODS)
    return ModelStages(
        model=model,
        vision=_vision_of(model, layout) if encoder else (),
        vision_encoder=encoder,
        projector=_shallowest(model, PROJECTOR_NAMES) if encoder else (),
        language_model=language,
        text_encoder=_text_encoder(model, ("", *language)),
        generate_entries=_entries(model, language),
        family=family,
        source="search",
    )


def _language_model(model: Any) -> tuple[str, ...]:
    """The decoder by the model's get_decoder, else by the usual names."""
    with_decoder = getattr(model, "get_decoder", None)
    decoder = with_decoder() if callable(with_decoder) else None
    for path, module in model.named_modules():
        if module is decoder and path:
            return (path,)
    return _shallowest(model, LANGUAGE_NAMES)


def _shallowest(model: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """The shallowest module with one of the names; at equal depth, the likelier name."""
    hits = [
        (path.count("."), names.index(path.rpartition(".")[2]), path)
        for path, _ in model.named_modules()
        if path.rpartition(".")[2] in names
    ]
    return tuple(_called(model, min(hits)[2])) if hits else ()


def _overridden(stages: ModelStages, overrides: Mapping[str, Any]) -> ModelStages:
    _check_keys(overrides)
    fields: dict[str, Any] = {}
    for key, value in overrides.items():
        given = (value,) if isinstance(value, str) else tuple(value)
        paths = [(path, _expand_given(stages.model, path)) for path in given]
        fields[_FIELD_OF_KEY[key]] = tuple(hit for _, hits in paths for hit in hits)
    return replace(stages, source="file", **fields)


def _expand_given(model: Any, path: str) -> list[str]:
    hits = _expand(model, path)
    if not hits:
        raise _missing(model, path)
    return hits


def _check_keys(overrides: Mapping[str, Any]) -> None:
    unknown = sorted(set(overrides) - set(_FIELD_OF_KEY))
    if unknown:
        raise CaptureError(
            f"unknown stage {', '.join(map(repr, unknown))} in the stages file",
            why="its keys are: " + ", ".join(_FIELD_OF_KEY),
            remedy="rename or delete it",
        )


def _check_encoder(stages: ModelStages, overrides: Mapping[str, Any]) -> None:
    config = getattr(stages.model, "config", None)
    takes_images = getattr(config, "vision_config", None) is not None
    if stages.vision_encoder or not takes_images or "vision_encoder" in overrides:
        return
    candidates = [path for path, _ in stages.model.named_modules() if 0 < len(path.split(".")) <= 3]
    raise CaptureError(
        f"no vision encoder found in {type(stages.model).__name__}",
        why="modules seen: " + ", ".join(path for path in candidates if path)[:1000],
        remedy='name it in a file: vision_encoder = "path.of.module", and pass --stages-of FILE',
    )
