"""MolmoE's shape at full size with random weights: 16 layers, 64 experts, 8 of them a token.

Written from the sizes and the attribute names alone. What matters to a profiler is kept: an eager
loop over the experts, each of which asks the device which tokens are its own and so waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import DynamicCache

IMAGE = 2


@dataclass(frozen=True)
class Sizes:
    """MolmoE 1B-7B with its CLIP tower of 23 blocks."""

    layers: int = 16
    width: int = 2048
    heads: int = 16
    experts: int = 64
    top: int = 8
    expert_width: int = 1024
    vocabulary: int = 50304
    vision_layers: int = 23
    vision_width: int = 1024
    vision_heads: int = 16
    patches: int = 576
    pixels: int = 588


class Config:
    """What a recorder asks of a model's configuration."""

    def __init__(self, sizes: Sizes) -> None:
        self.model_type = "molmoe_stand_in"
        self.num_hidden_layers = sizes.layers
        self.hidden_size, self.num_attention_heads = sizes.width, sizes.heads
        self.num_experts, self.num_experts_per_tok = sizes.experts, sizes.top
        self.vocab_size = sizes.vocabulary

    def get_text_config(self) -> Config:
        """Itself: the language model's sizes are its own."""
        return self


class Attention(nn.Module):
    """Causal self-attention; with a cache, over what came before."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.att_proj = nn.Linear(width, 3 * width, bias=False)
        self.attn_out = nn.Linear(width, width, bias=False)

    def forward(self, hidden: torch.Tensor, cache: Any = None, layer: int = 0) -> torch.Tensor:
        """(rows, positions, width) in and out."""
        rows, positions, width = hidden.shape
        query, key, value = (
            part.view(rows, positions, self.heads, -1).transpose(1, 2)
            for part in self.att_proj(hidden).chunk(3, dim=-1)
        )
        if cache is not None:
            key, value = cache.update(key, value, layer)
        first = self.causal and positions > 1
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=first)
        return self.attn_out(attended.transpose(1, 2).reshape(rows, positions, width))


class Expert(nn.Module):
    """A gated feed-forward of one expert."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(tokens, width) in and out."""
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Experts(nn.Module):
    """The eager loop: every expert is asked for its tokens, in turn."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.top = sizes.top
        self.gate = nn.Linear(sizes.width, sizes.experts, bias=False)
        self.experts = nn.ModuleList(
            Expert(sizes.width, sizes.expert_width) for _ in range(sizes.experts)
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, positions, width) in and out."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        share = functional.softmax(self.gate(flat).float(), dim=-1)
        weight, chosen = torch.topk(share, self.top, dim=-1)
        weight = weight.to(flat.dtype)
        mask = functional.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
        result = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            slot, token = torch.where(mask[number])
            part = expert(flat[token]) * weight[token, slot, None]
            result.index_add_(0, token, part)
        return result.view_as(hidden)


class Block(nn.Module):
    """A pre-norm layer; `mlp` is what follows its attention."""

    def __init__(self, width: int, heads: int, mlp: nn.Module, *, causal: bool) -> None:
        super().__init__()
        self.attn_norm, self.ff_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.mlp = mlp

    def forward(self, hidden: torch.Tensor, cache: Any = None, layer: int = 0) -> torch.Tensor:
        """(rows, positions, width) in and out."""
        hidden = hidden + self.attention(self.attn_norm(hidden), cache, layer)
        return hidden + self.mlp(self.ff_norm(hidden))


def _feed_forward(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class VisionBackbone(nn.Module):
    """Tower, pooling of 2 × 2 patches and projector."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.vision_width
        self.image_vit = nn.Sequential(
            nn.Linear(sizes.pixels, width),
            *(
                Block(width, sizes.vision_heads, _feed_forward(width), causal=False)
                for _ in range(sizes.vision_layers)
            ),
        )
        self.image_pooling_2d = nn.Linear(4 * width, width)
        self.image_projector = nn.ModuleList(
            [nn.Linear(width, sizes.width), nn.Linear(sizes.width, sizes.width)]
        )

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Patches to features, by a plain method as in the remote code."""
        features: torch.Tensor = self.image_vit(images)
        return features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(crops, patches, pixels) to (crops, patches ÷ 4, width)."""
        features = self.encode_image(images)
        features = self.image_pooling_2d(features.unflatten(1, (-1, 4)).flatten(2))
        for module in self.image_projector:
            features = module(features)
        return features


class MolmoE(nn.Module):
    """The native model: its own greedy loop in `generate`."""

    def __init__(self, sizes: Sizes = Sizes()) -> None:
        super().__init__()
        self.sizes, self.config = sizes, Config(sizes)
        self.active_blocks = sizes.layers
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(sizes.vocabulary, sizes.width),
                "blocks": nn.ModuleList(
                    Block(sizes.width, sizes.heads, Experts(sizes), causal=True)
                    for _ in range(sizes.layers)
                ),
                "ln_f": nn.LayerNorm(sizes.width),
                "ff_out": nn.Linear(sizes.width, sizes.vocabulary, bias=False),
            }
        )
        self.vision_backbone = VisionBackbone(sizes)

    @classmethod
    def on(cls, device: str, dtype: torch.dtype = torch.bfloat16, **sizes: int) -> MolmoE:
        """A model of random weights on a device."""
        before = torch.get_default_dtype()
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                return cls(Sizes(**sizes)).eval()
        finally:
            torch.set_default_dtype(before)

    def set_knobs(self, *, top: int, blocks: int) -> None:
        """Send each token to `top` experts, and run the first `blocks` layers only."""
        self.active_blocks = blocks
        for block in self.transformer["blocks"]:
            block.mlp.top = top

    def forward(
        self,
        input_ids: torch.Tensor,
        images: torch.Tensor | None = None,
        cache: Any = None,
        features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of the last position.

        Args:
            features: what the vision backbone made of the images, where that was run before.
        """
        hidden = self.transformer["wte"](input_ids)
        if images is not None:
            features = self.vision_backbone(images)
        if features is not None:
            hidden[input_ids == IMAGE] += features.flatten(0, 1)
        blocks = islice(self.transformer["blocks"], self.active_blocks)
        for layer, block in enumerate(blocks):
            hidden = block(hidden, cache, layer)
        return self.transformer["ff_out"](self.transformer["ln_f"](hidden[:, -1:]))

    @torch.no_grad()
    def generate(
        self, input_ids: torch.Tensor, images: torch.Tensor, max_new_tokens: int, **_: Any
    ) -> torch.Tensor:
        """Greedy: the ids with the new ones behind them."""
        cache, step, given = DynamicCache(), input_ids, images
        for _step in range(max_new_tokens):
            logits = self(step, given, cache)
            step, given = logits[:, -1].argmax(-1)[:, None], None
            input_ids = torch.cat([input_ids, step], dim=1)
        return input_ids


def inputs_for(model: MolmoE, crops: int = 1, words: int = 24) -> Mapping[str, torch.Tensor]:
    """One prompt with this many crops."""
    device = next(model.parameters()).device
    images = torch.randn(
        crops,
        model.sizes.patches,
        model.sizes.pixels,
        device=device,
        dtype=next(model.parameters()).dtype,
    )
    ids = [IMAGE] * (crops * model.sizes.patches // 4) + list(range(10, 10 + words))
    return {"input_ids": torch.tensor([ids], device=device), "images": images}
