"""Tiny models of every family with random weights, and the inputs of one image for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers

VERSION = tuple(int(part) for part in transformers.__version__.split(".")[:2])
IMAGE, VOCABULARY, PATCHES = 5, 64, 4
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TEXT = {
    **SMALL,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "eos_token_id": None,
    "bos_token_id": 1,
    "pad_token_id": 0,
}
VISION = {**SMALL, "image_size": 16, "patch_size": 8}
QWEN_TEXT = {**TEXT, "head_dim": 8, "rope_parameters": None}
QWEN_GRID = {"image_grid_thw": torch.tensor([[1, 4, 4]])}
LLAMA = {"model_type": "llama", **TEXT}
CLIP = {"model_type": "clip_vision_model", **VISION}
SIGLIP = {"model_type": "siglip_vision_model", **VISION}


@dataclass(frozen=True)
class Tiny:
    """A model and what its generate() takes."""

    model: Any
    inputs: dict[str, Any]

    def generate(self, tokens: int = 4, **options: Any) -> torch.Tensor:
        """Exactly `tokens` new tokens, greedy unless `options` say otherwise."""
        settings = {"do_sample": False, "min_new_tokens": tokens, **options}
        output: torch.Tensor = self.model.generate(**self.inputs, max_new_tokens=tokens, **settings)
        return output


def _make(architecture: str, **config: Any) -> Any:
    kind = getattr(transformers, architecture, None)
    if kind is None:
        pytest.skip(f"transformers {transformers.__version__} has no {architecture}")
    torch.manual_seed(0)
    model = kind(kind.config_class(**config)).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def _prompt(images: int = PATCHES, *, batch: int = 1) -> torch.Tensor:
    return torch.tensor([[1, *[IMAGE] * images, 7, 8]] * batch)


def _pixels(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _clip_like(architecture: str, vision: dict[str, Any], **config: Any) -> Tiny:
    config = {"text_config": LLAMA, "vision_config": vision, "image_token_id": IMAGE, **config}
    model = _make(architecture, image_token_index=IMAGE, image_seq_length=PATCHES, **config)
    return Tiny(model, {"input_ids": _prompt(), "pixel_values": _pixels(1, 3, 16, 16)})


def llava() -> Tiny:
    return _clip_like("LlavaForConditionalGeneration", CLIP)


def llava_onevision() -> Tiny:
    model = _make(
        "LlavaOnevisionForConditionalGeneration",
        text_config={"model_type": "qwen2", **TEXT},
        vision_config=SIGLIP,
        image_token_index=IMAGE,
        image_token_id=IMAGE,
        image_grid_pinpoints=[[16, 16]],
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )
    # The base image, then its one crop with a newline at the end of each of its two rows.
    inputs = {"input_ids": _prompt(10), "pixel_values": _pixels(1, 2, 3, 16, 16)}
    return Tiny(model, {**inputs, "image_sizes": torch.tensor([[16, 16]])})


def _qwen_like(architecture: str, vision: dict[str, Any], **text: Any) -> Tiny:
    tokens = {f"{kind}_token_id": 60 + i for i, kind in enumerate(("vision_start", "vision_end"))}
    rope = {"rope_type": "default", "type": "default", "mrope_section": [1, 1, 2]}
    both = {"rope_parameters": {**rope, "rope_theta": 10000.0}, "rope_scaling": rope}
    language = {**TEXT, **both, **text}
    config = {"text_config": language, "vision_config": vision, **tokens}
    if architecture.startswith("Qwen2") and VERSION < (4, 52):  # one flat configuration until then
        config = {**language, "vision_config": vision, **tokens}
    model = _make(
        architecture, image_token_id=IMAGE, video_token_id=6, image_start_token_id=62,
        image_end_token_id=63, video_start_token_id=58, video_end_token_id=59, **config,
    )  # fmt: skip
    ids = torch.tensor([[1, 60, *[IMAGE] * PATCHES, 61, 7, 8]])
    inputs = {"input_ids": ids, "pixel_values": _pixels(16, 3 * 2 * 8 * 8), **QWEN_GRID}
    if "mm_token_type_ids" in inspect.signature(model.forward).parameters:
        inputs["mm_token_type_ids"] = (ids == IMAGE).int()
    return Tiny(model, inputs)


_QWEN_VISION = {"depth": 2, "num_heads": 2, "patch_size": 8, "spatial_merge_size": 2}


def qwen2_vl() -> Tiny:
    vision = {**_QWEN_VISION, "embed_dim": 16, "hidden_size": 16, "mlp_ratio": 2}
    return _qwen_like("Qwen2VLForConditionalGeneration", vision)


def qwen2_5_vl() -> Tiny:
    vision = {"out_hidden_size": 16, "fullatt_block_indexes": [1], "window_size": 32}
    return _qwen_like(
        "Qwen2_5_VLForConditionalGeneration",
        {**_QWEN_VISION, **vision, "hidden_size": 16, "intermediate_size": 32},
    )


def qwen3_vl() -> Tiny:
    vision = {"out_hidden_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    return _qwen_like(
        "Qwen3VLForConditionalGeneration",
        {**_QWEN_VISION, **vision, "hidden_size": 16, "intermediate_size": 32},
        head_dim=8,
    )


def glm4v() -> Tiny:
    vision = {"out_hidden_size": 16, "hidden_size": 16, "intermediate_size": 32, "image_size": 32}
    return _qwen_like("Glm4vForConditionalGeneration", {**_QWEN_VISION, **vision})


def _idefics_like(architecture: str) -> Tiny:
    model = _make(
        architecture, text_config=LLAMA, vision_config={**VISION}, scale_factor=1,
        image_token_id=IMAGE, pad_token_id=0,
    )  # fmt: skip
    return Tiny(model, {"input_ids": _prompt(), "pixel_values": _pixels(1, 1, 3, 16, 16)})


def smolvlm() -> Tiny:
    return _idefics_like("SmolVLMForConditionalGeneration")


def idefics3() -> Tiny:
    return _idefics_like("Idefics3ForConditionalGeneration")


def gemma3() -> Tiny:
    text = {"model_type": "gemma3_text", **TEXT, "head_dim": 8, "sliding_window": 32}
    tiny = _clip_like(
        "Gemma3ForConditionalGeneration", SIGLIP, text_config=text, mm_tokens_per_image=PATCHES
    )
    types = (tiny.inputs["input_ids"] == IMAGE).long()
    return Tiny(tiny.model, {**tiny.inputs, "token_type_ids": types})


def paligemma() -> Tiny:
    text = {"model_type": "gemma", **TEXT, "head_dim": 8}
    vision = {**SIGLIP, "projection_dim": 16}
    return _clip_like(
        "PaliGemmaForConditionalGeneration", vision, text_config=text, projection_dim=16
    )


def mllama() -> Tiny:
    layers = {"intermediate_layers_indices": [0], "num_global_layers": 1, "attention_heads": 2}
    vision = {**VISION, **layers, "vision_output_dim": 32, "supported_aspect_ratios": [[1, 1]]}
    text = {**TEXT, "cross_attention_layers": [1], "rope_scaling": {"rope_type": "default"}}
    model = _make(
        "MllamaForConditionalGeneration",
        text_config=text,
        vision_config={**vision, "max_num_tiles": 1},
        image_token_index=IMAGE,
    )
    ids = torch.tensor([[1, IMAGE, 7, 8]])
    inputs = {"input_ids": ids, "pixel_values": _pixels(1, 1, 1, 3, 16, 16)}
    return Tiny(
        model,
        {
            **inputs,
            "aspect_ratio_ids": torch.tensor([[1]]),
            "aspect_ratio_mask": torch.ones(1, 1, 1, dtype=torch.long),
            "cross_attention_mask": torch.ones(1, 4, 1, 1, dtype=torch.long),
        },
    )


def internvl() -> Tiny:
    vision = {"model_type": "internvl_vision", **SMALL, "image_size": [16, 16]}
    return _clip_like(
        "InternVLForConditionalGeneration",
        {**vision, "patch_size": [4, 4]},
        text_config={"model_type": "qwen2", **TEXT},
        downsample_ratio=0.5,
    )


def mistral3() -> Tiny:
    tiny = _clip_like(
        "Mistral3ForConditionalGeneration",
        {"model_type": "pixtral", **VISION, "image_size": 32, "head_dim": 8},
        text_config={"model_type": "mistral", **TEXT, "head_dim": 8},
        spatial_merge_size=2,
        vision_feature_layer=-1,
    )
    inputs = {"pixel_values": _pixels(1, 3, 32, 32), "image_sizes": torch.tensor([[32, 32]])}
    return Tiny(tiny.model, {**tiny.inputs, **inputs})


def blip_2() -> Tiny:
    query = {**SMALL, "encoder_hidden_size": 16, "vocab_size": VOCABULARY}
    text = {"model_type": "opt", **TEXT, "ffn_dim": 32, "word_embed_proj_dim": 16}
    model = _make(
        "Blip2ForConditionalGeneration", vision_config={**VISION}, qformer_config=query,
        text_config=text, num_query_tokens=PATCHES, image_token_index=IMAGE,
    )  # fmt: skip
    model.language_model.generation_config.eos_token_id = None
    return Tiny(model, {"input_ids": _prompt(), "pixel_values": _pixels(1, 3, 16, 16)})


def _bart() -> dict[str, Any]:
    sizes = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in
             {"layers": 2, "attention_heads": 2, "ffn_dim": 32}.items()}  # fmt: skip
    ends = {"bos_token_id": 1, "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    return {
        **sizes,
        **ends,
        "d_model": 16,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "forced_eos_token_id": None,
    }


def florence2() -> Tiny:
    vision = {
        "depths": [1], "patch_size": [7], "patch_stride": [4], "patch_padding": [3],
        "patch_prenorm": [False], "embed_dim": [16], "num_heads": [2], "num_groups": [2],
        "window_size": 4, "projection_dim": 16,
    }  # fmt: skip
    model = _make(
        "Florence2ForConditionalGeneration", text_config={"model_type": "bart", **_bart()},
        vision_config=vision, image_token_id=IMAGE, **{"decoder_start_token_id": 2},
    )  # fmt: skip
    model.generation_config.decoder_start_token_id = 2
    # One token for the image as a whole, and one for each of its 4 x 4 patches.
    return Tiny(model, {"input_ids": _prompt(17), "pixel_values": _pixels(1, 3, 16, 16)})


def molmo2() -> Tiny:
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    vision = {**SMALL, **heads, "image_size": [16, 16], "patch_size": 4}
    adapter = {"hidden_size": 16, "intermediate_size": 32, "text_hidden_size": 16, **heads}
    model = _make(
        "Molmo2ForConditionalGeneration",
        text_config={**TEXT, "head_dim": 8, "additional_vocab_size": 4},
        vision_config=vision,
        adapter_config={**adapter, "vision_feature_layer": [1, 0]},
        image_patch_id=IMAGE,
    )
    pooling = torch.arange(16).reshape(4, 4)
    inputs = {"input_ids": _prompt(), "pixel_values": _pixels(1, 16, 3 * 4 * 4)}
    return Tiny(
        model,
        {
            **inputs,
            "image_token_pooling": pooling,
            "image_grids": torch.tensor([[2, 2, 0, 0]]),
            "image_num_crops": torch.tensor([1]),
        },
    )


def llama() -> Tiny:
    return Tiny(_make("LlamaForCausalLM", **TEXT), {"input_ids": torch.tensor([[1, 7, 8, 9]])})


def t5() -> Tiny:
    model = _make(
        "T5ForConditionalGeneration", d_model=16, d_ff=32, d_kv=8, num_layers=2, num_heads=2,
        vocab_size=VOCABULARY, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return Tiny(model, {"input_ids": torch.tensor([[7, 8, 9]])})


def bart() -> Tiny:
    model = _make("BartForConditionalGeneration", **_bart())
    model.generation_config.forced_eos_token_id = None
    return Tiny(model, {"input_ids": torch.tensor([[7, 8, 9]])})


VISION_MODELS: tuple[Callable[[], Tiny], ...] = (
    llava,
    llava_onevision,
    qwen2_vl,
    qwen2_5_vl,
    qwen3_vl,
    glm4v,
    smolvlm,
    idefics3,
    gemma3,
    paligemma,
    mllama,
    internvl,
    mistral3,
    blip_2,
    florence2,
    molmo2,
)
TEXT_MODELS: tuple[Callable[[], Tiny], ...] = (llama, t5, bart)
