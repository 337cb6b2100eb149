"""A tiny LLaVA with a processor and tokenizer of its own in a folder, as the hub would give it."""

from __future__ import annotations

from pathlib import Path

_WORDS = (
    "<pad>",
    "<s>",
    "</s>",
    "<image>",
    "<unk>",
    "what",
    "is",
    "this",
    "user",
    "assistant",
    ":",
)
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} : "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}assistant :"
)
PATCHES, PROMPT_WORDS = 16, 7


def save_llava(folder: Path) -> None:
    """Write model and processor; a prompt of three words with an image has 23 input tokens."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config=LlamaConfig(
                **sizes, num_attention_heads=4, num_key_value_heads=4, vocab_size=64
            ),
            vision_config=CLIPVisionConfig(
                **sizes, num_attention_heads=2, image_size=56, patch_size=14
            ),
            image_token_index=_WORDS.index("<image>"),
            image_seq_length=PATCHES,
        )
    )
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
        ),
        tokenizer=_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)


def _tokenizer() -> object:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(_WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        model_input_names=["input_ids", "attention_mask"],
    )
