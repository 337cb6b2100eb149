"""Models with random weights, built without a download: for tests, samples and measurements.

Times do not depend on the weights, except through a router's choice of experts. No id ends a text,
so `generate` makes exactly `max_new_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch

PAD, BOS, IMAGE = 0, 1, 2
_FIRST_WORD = 3
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes of a LLaVA: a CLIP tower, a two-layer projector, a language model."""

    language: str
    text: Mapping[str, Any]
    vision: Mapping[str, Any]


_CLIP_L_336 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
PRESETS: Mapping[str, Preset] = {
    "tiny-llava": Preset(
        language="llama",
        text={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 512,
        },
        vision={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
    ),
    # Llama 3.2 1B and 3.1 8B, OLMoE 1B-7B: the sizes of their published configurations.
    "random:llava-1b": Preset(
        language="llama",
        text={
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
        },
        vision=_CLIP_L_336,
    ),
    "random:llava-8b": Preset(
        language="llama",
        text={
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
        },
        vision=_CLIP_L_336,
    ),
    "random:llava-olmoe": Preset(
        language="olmoe",
        text={
            "hidden_size": 2048,
            "intermediate_size": 1024,
            "num_hidden_layers": 16,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "num_experts": 64,
            "num_experts_per_tok": 8,
            "vocab_size": 50304,
        },
        vision=_CLIP_L_336,
    ),
}


def build(
    name: str, *, device: str, dtype: torch.dtype, seed: int = 0, attention: str | None = None
) -> Any:
    """The preset's model on `device`, with weights from `seed`, ready to generate.

    Args:
        attention: implementation by transformers' name ("sdpa", "eager" …), None for its default.
    """
    from transformers import LlavaForConditionalGeneration

    config = _config(PRESETS[name])
    if attention is not None:
        config._attn_implementation = attention
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlavaForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    settings = model.generation_config
    settings.eos_token_id, settings.pad_token_id, settings.bos_token_id = None, PAD, BOS
    settings.do_sample = False
    return model.eval()


def _config(preset: Preset) -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, OlmoeConfig

    kinds = {"llama": LlamaConfig, "olmoe": OlmoeConfig}
    ends = {"bos_token_id": BOS, "eos_token_id": None, "pad_token_id": PAD}
    text = kinds[preset.language](**preset.text, **ends, max_position_embeddings=8192)
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**preset.vision, projection_dim=64),
        text_config=text,
        image_token_index=IMAGE,
        image_token_id=IMAGE,
        **ends,
    )


class StandInProcessor:
    """A preset's processor, without a file to download.

    Words become ids by a checksum; each image becomes as many image ids as the tower has patches.
    """

    def __init__(self, config: Any) -> None:
        vision = config.vision_config
        self.side: int = vision.image_size
        self.image_tokens: int = (vision.image_size // vision.patch_size) ** 2
        self.words: int = config.text_config.vocab_size - _FIRST_WORD

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, Any]], **_: object
    ) -> dict[str, torch.Tensor]:
        """Ids and pixels of messages whose content is text or a list of text and image parts."""
        ids, images = [BOS], []
        for part in _parts(messages):
            if part["type"] == "image":
                ids += [IMAGE] * self.image_tokens
                images.append(self._pixels(part["image"]))
            else:
                ids += [self._id(word) for word in part["text"].split()]
        tokens = torch.tensor([ids])
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        if images:
            inputs["pixel_values"] = torch.stack(images)
        return inputs

    def _id(self, word: str) -> int:
        return _FIRST_WORD + crc32(word.encode()) % self.words

    def _pixels(self, image: Any) -> torch.Tensor:
        resized = image.convert("RGB").resize((self.side, self.side))
        pixels = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8)
        scaled = pixels.reshape(self.side, self.side, 3).permute(2, 0, 1) / 255
        mean, std = torch.tensor(_MEAN), torch.tensor(_STD)
        return (scaled - mean[:, None, None]) / std[:, None, None]


def _parts(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    parts: list[Mapping[str, Any]] = []
    for message in messages:
        content = message["content"]
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return parts
