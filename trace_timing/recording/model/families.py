"""Table of model families: the modules and methods that are their stages.

A name is looked up below each prefix of its layout and the first hit taken, since transformers
moved the modules of most families below `model.` in 4.52. `*` matches any one name, and a list of
modules that is never called itself stands for its items.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Methods that encode and project an image in one call, where a model has them.
VISION_METHODS = ("get_image_features", "get_video_features")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names of a family's modules and methods, each looked up below every prefix.

    `projector` is in the order of the calls: the last one ends the vision stage if no method does.
    """

    encoder: tuple[str, ...]
    projector: tuple[str, ...]
    language: tuple[str, ...]
    vision: tuple[str, ...] = VISION_METHODS
    prefixes: tuple[str, ...] = ("model.", "")


_LLAVA = Layout(
    encoder=("vision_tower",), projector=("multi_modal_projector",), language=("language_model",)
)
_QWEN = Layout(
    encoder=("visual",),
    projector=("visual.deepstack_merger_list.*", "visual.merger"),
    language=("language_model", "model"),  # the latter until transformers 4.52
)
_IDEFICS = Layout(encoder=("vision_model",), projector=("connector",), language=("text_model",))
_BLIP = Layout(
    encoder=("vision_model",),
    projector=("qformer", "language_projection"),
    language=("language_model",),
)
_ALIGNED = Layout(encoder=("vision_model",), projector=("aligner",), language=("language_model",))
_MOLMO = Layout(
    vision=("vision_backbone",),
    # encode_image is a method around image_vit; the outer of the two makes the range.
    encoder=("vision_backbone.encode_image", "vision_backbone.image_vit"),
    projector=("vision_backbone.image_pooling_2d", "vision_backbone.image_projector"),
    language=("transformer",),
)

#: `config.model_type`, or for a model without one its class's name in lower case → layout.
FAMILIES: dict[str, Layout] = {
    **dict.fromkeys(
        (
            "llava",
            "llava_next",
            "llava_next_video",
            "llava_onevision",
            "vipllava",
            "video_llava",
            "paligemma",
            "gemma3",
            "gemma3n",
            "internvl",
            "mistral3",
            "florence2",
            "aya_vision",
            "got_ocr2",
            "cohere2_vision",
            "molmo2",
        ),
        _LLAVA,
    ),
    **dict.fromkeys(
        (
            "qwen2_vl",
            "qwen2_5_vl",
            "qwen3_vl",
            "qwen3_vl_moe",
            "qwen3_5",
            "qwen3_5_moe",
            "glm4v",
            "glm4v_moe",
        ),
        _QWEN,
    ),
    **dict.fromkeys(("idefics2", "idefics3", "smolvlm"), _IDEFICS),
    **dict.fromkeys(("blip-2", "instructblip", "instructblipvideo"), _BLIP),
    **dict.fromkeys(("janus", "deepseek_vl", "deepseek_vl_hybrid"), _ALIGNED),
    **dict.fromkeys(("molmo", "molmoe"), _MOLMO),
    "mllama": Layout(
        encoder=("vision_model",),
        projector=("multi_modal_projector",),
        language=("language_model",),
    ),
    "gemma4": Layout(
        encoder=("vision_tower",), projector=("embed_vision",), language=("language_model",)
    ),
    "kosmos-2": Layout(
        encoder=("vision_model",), projector=("image_to_text_projection",), language=("text_model",)
    ),
    "phi4_multimodal": Layout(
        encoder=("embed_tokens_extend.image_embed.img_processor",),
        projector=("embed_tokens_extend.image_embed.img_projection_*",),
        language=("model",),
    ),
}

#: Names by which the stages of other families are searched, likeliest first.
ENCODER_NAMES = (
    "vision_tower",
    "vision_model",
    "visual",
    "vision_encoder",
    "image_encoder",
    "vision_backbone",
    "vision_embed_tokens",
    "vision",
    "vit",
    "image_vit",
    "img_processor",
)
PROJECTOR_NAMES = (
    "multi_modal_projector",
    "mm_projector",
    "multimodal_projector",
    "connector",
    "aligner",
    "merger",
    "embed_vision",
    "vision_projection",
    "visual_projection",
    "image_to_text_projection",
    "language_projection",
    "vision_projector",
    "image_projector",
    "img_projection",
    "projector",
    "perceiver_resampler",
    "resampler",
    "qformer",
)
LANGUAGE_NAMES = ("language_model", "text_model", "llm", "decoder", "transformer", "model")
TEXT_ENCODER_NAMES = ("encoder", "model.encoder")
GENERATE_METHODS = ("generate", "generate_from_batch")
