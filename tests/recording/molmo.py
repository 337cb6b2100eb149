"""Stand-ins for Molmo and MolmoE: their attribute names and call structure, tiny, written here.

As in the remote code, `generate_from_batch` goes to `super().generate`, the outer forward calls
`self.model.forward`, `encode_image` is a plain method, `transformer` is a ModuleDict that is never
called, and the projector is a list of modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from tests.recording.models import IMAGE, PATCHES, VOCABULARY, Tiny

WIDTH, LAYERS, PIXELS = 16, 2, 12


class MolmoConfig(PretrainedConfig):
    model_type = "molmo"

    def __init__(self, experts: int = 0, **settings: Any) -> None:
        self.experts = experts
        self.num_hidden_layers = LAYERS
        self.hidden_size, self.num_attention_heads, self.vocab_size = WIDTH, 1, VOCABULARY
        super().__init__(**settings)


class Experts(nn.Module):
    """An eager loop over experts, each for the tokens routed to it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, count)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(count))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        chosen = self.gate(hidden).argmax(-1)
        return sum(e(hidden) * (chosen == i)[..., None] for i, e in enumerate(self.experts))


class Block(nn.Module):
    def __init__(self, layer: int, experts: int) -> None:
        super().__init__()
        self.layer = layer
        self.att_proj = nn.Linear(WIDTH, 3 * WIDTH)
        self.mlp = Experts(experts) if experts else nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: torch.Tensor, cache: Any) -> torch.Tensor:
        query, key, value = self.att_proj(hidden)[:, None].chunk(3, dim=-1)
        if cache is not None:
            key, value = cache.update(key, value, self.layer)
        past = key.shape[-2] - query.shape[-2]
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril(past)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        hidden = hidden + attended[:, 0]
        return hidden + self.mlp(hidden)


class VisionBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_vit = nn.Linear(PIXELS, WIDTH)
        self.image_pooling_2d = nn.Linear(WIDTH, WIDTH)
        self.image_projector = nn.ModuleList([nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)])

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return self.image_vit(images).tanh()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.image_pooling_2d(self.encode_image(images))
        for module in self.image_projector:
            features = module(features)
        return features


class Molmo(nn.Module):
    """The native model: its own loop in `generate`, which calls `self.forward`."""

    def __init__(self, experts: int = 0) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(VOCABULARY, WIDTH),
                "blocks": nn.ModuleList(Block(i, experts) for i in range(LAYERS)),
                "ff_out": nn.Linear(WIDTH, VOCABULARY),
            }
        )
        self.vision_backbone = VisionBackbone()

    def forward(
        self, input_ids: torch.Tensor, images: torch.Tensor | None = None, cache: Any = None
    ) -> torch.Tensor:
        hidden = self.transformer["wte"](input_ids)
        if images is not None:
            features = self.vision_backbone(images)
            hidden[input_ids == IMAGE] += features.flatten(0, 1)
        for block in self.transformer["blocks"]:
            hidden = block(hidden, cache)
        return self.transformer["ff_out"](hidden)

    def generate(
        self, input_ids: torch.Tensor, images: torch.Tensor, max_new_tokens: int, **_: Any
    ) -> torch.Tensor:
        from transformers import DynamicCache

        cache, step_ids, given = DynamicCache(), input_ids, images
        with torch.no_grad():
            for _step in range(max_new_tokens):
                logits = self.forward(step_ids, given, cache)
                step_ids, given = logits[:, -1].argmax(-1)[:, None], None
                input_ids = torch.cat([input_ids, step_ids], dim=1)
        return input_ids


def _named_cache(past_key_values: Any, cache: Any) -> tuple[str, Any]:
    """The cache under the name it came by, which transformers 5.24 changed."""
    return ("past_key_values", past_key_values) if cache is None else ("cache", cache)


class MolmoForCausalLM(PreTrainedModel, GenerationMixin):
    """The remote code's outer model."""

    config_class = MolmoConfig
    main_input_name = "input_ids"
    _supports_cache_class = True  # asked for before transformers 4.54

    def __init__(self, config: MolmoConfig) -> None:
        super().__init__(config)
        self.model = Molmo(config.experts)

    def forward(
        self,
        input_ids: torch.Tensor,
        images: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        cache: Any = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        name, kept = _named_cache(past_key_values, cache)
        return CausalLMOutputWithPast(
            logits=self.model.forward(input_ids, images, kept), **{name: kept}
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        past_key_values: Any = None,
        cache: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        name, kept = _named_cache(past_key_values, cache)
        begun = kept is not None and kept.get_seq_length() > 0
        return {
            "input_ids": input_ids[:, -1:] if begun else input_ids,
            "images": None if begun else kwargs.get("images"),
            name: kept,
        }

    def generate_from_batch(
        self, batch: dict[str, Any], generation_config: GenerationConfig | None = None
    ) -> torch.Tensor:
        return super().generate(
            batch["input_ids"], generation_config=generation_config, images=batch["images"]
        )


@dataclass(frozen=True)
class FromBatch(Tiny):
    """Generates by `generate_from_batch`."""

    def generate(self, tokens: int = 4, **options: Any) -> torch.Tensor:
        config = GenerationConfig(
            max_new_tokens=tokens, do_sample=False, eos_token_id=None, pad_token_id=0, **options
        )
        output: torch.Tensor = self.model.generate_from_batch(self.inputs, config)
        return output


def _inputs() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.tensor([[1, *[IMAGE] * PATCHES, 7, 8]])
    return {"input_ids": ids, "images": torch.randn(1, PATCHES, PIXELS, generator=generator)}


def _remote(experts: int) -> MolmoForCausalLM:
    torch.manual_seed(0)
    model = MolmoForCausalLM(MolmoConfig(experts=experts)).eval()
    model.generation_config.pad_token_id = 0
    return model


def molmo() -> Tiny:
    return Tiny(_remote(experts=0), _inputs())


def molmo_from_batch() -> Tiny:
    return FromBatch(_remote(experts=0), _inputs())


def molmoe_from_batch() -> Tiny:
    return FromBatch(_remote(experts=4), _inputs())


def molmo_native() -> Tiny:
    torch.manual_seed(0)
    return Tiny(Molmo().eval(), _inputs())


MOLMO_MODELS = (molmo, molmo_from_batch, molmoe_from_batch, molmo_native)
