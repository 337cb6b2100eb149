"""Describe a model for the manifest: sizes and weights, as the roofline needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from trace_timing.recording.model.locate import ModelStages, find_part

#: Our name of a configuration field → the names that families give it.
_FIELDS = {
    "layers": ("num_hidden_layers", "n_layers", "num_layers", "depth"),
    "hidden_size": ("hidden_size", "d_model", "embed_dim"),
    "intermediate_size": ("intermediate_size", "mlp_hidden_size", "ffn_dim"),
    "heads": ("num_attention_heads", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "n_kv_heads", "num_attention_heads", "n_heads"),
    "head_dim": ("head_dim",),
    "experts": ("num_experts", "num_local_experts", "moe_num_experts", "n_routed_experts"),
    "experts_per_token": ("num_experts_per_tok", "moe_top_k", "top_k_experts"),
    "expert_intermediate_size": ("moe_intermediate_size",),
    "vocab_size": ("vocab_size", "embedding_size"),
}


def describe_model(model: Any, stages: ModelStages) -> dict[str, Any]:
    """The manifest's `model`.

    `stages` has parameters and bytes by dtype of each stage's modules, `total` those of the model;
    a parameter shared by two modules counts once in each stage, and once in the total. Experts are
    counted apart: a step reads only those that its tokens are routed to.
    """
    # Models outside transformers have another kind of configuration, or none.
    config = getattr(model, "config", None)
    parts = {
        "vision_encoder": _modules(stages, stages.vision_encoder),
        "projector": _modules(stages, stages.projector),
        "language": _modules(stages, stages.language_model),
    }
    inside_vision = {id(p) for p in _parameters(parts["projector"])}
    return {
        "architecture": type(model).__name__,
        "model_type": getattr(config, "model_type", None),
        "attention": getattr(config, "_attn_implementation", None),
        "total": _weights(model.parameters()),
        "stages": {
            name: _weights(
                p
                for p in _parameters(modules)
                if name != "vision_encoder" or id(p) not in inside_vision
            )
            for name, modules in parts.items()
        },
        "experts": _weights(_expert_parameters(model)),
        "text_config": _sizes(_text_config(config)),
        "vision_config": _sizes(getattr(config, "vision_config", None)),
    }


def _text_config(config: Any) -> Any:
    of_language = getattr(config, "get_text_config", None)
    return of_language() if of_language else config


def _modules(stages: ModelStages, paths: Iterable[str]) -> list[Any]:
    parts = (find_part(stages.model, path) for path in paths)
    return [part for part in parts if hasattr(part, "parameters")]


def _parameters(modules: Iterable[Any]) -> list[Any]:
    unique = {id(p): p for module in modules for p in module.parameters()}
    return list(unique.values())


def _expert_parameters(model: Any) -> list[Any]:
    return [p for name, p in model.named_parameters() if ".experts." in name]


def _weights(parameters: Iterable[Any]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for parameter in parameters:
        dtype = str(parameter.dtype).removeprefix("torch.")
        counts[dtype] += parameter.numel()
        sizes[dtype] += parameter.numel() * parameter.element_size()
    return {
        "parameters": sum(counts.values()),
        "bytes": sum(sizes.values()),
        "by_dtype": {d: {"parameters": counts[d], "bytes": sizes[d]} for d in counts},
    }


def _sizes(config: Any) -> dict[str, int] | None:
    if config is None:
        return None
    sizes = {name: _first(config, names) for name, names in _FIELDS.items()}
    return {name: value for name, value in sizes.items() if value is not None}


def _first(config: Any, names: tuple[str, ...]) -> int | None:
    values = (getattr(config, name, None) for name in names)
    return next((value for value in values if isinstance(value, int)), None)
