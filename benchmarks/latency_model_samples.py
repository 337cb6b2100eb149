"""Samples of the latency-model experiment: 27 settings of three knobs, three prompts each.

The model is the MolmoE stand-in of full size, or with `tiny` one that a CPU runs in milliseconds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any
from zlib import crc32

import torch

from benchmarks.molmoe import MolmoE, inputs_for

CROPS, TOP, BLOCKS = (1, 4, 12), (4, 8, 12), (8, 12, 16)
WORDS = (12, 48, 160)
#: Output lengths; each setting gets three different ones.
TOKENS = (2, 3, 4, 5, 6, 8, 10, 12, 16)
FEATURES = (
    *("image_tier", "actual_num_crops", "top_k", "num_active_blocks"),
    *("actual_vision_tokens", "actual_text_tokens", "total_sequence_length"),
)
_TINY = {
    "width": 32,
    "heads": 2,
    "experts": 16,
    "expert_width": 16,
    "vocabulary": 512,
    "vision_layers": 2,
    "vision_width": 32,
    "vision_heads": 2,
    "patches": 16,
    "pixels": 12,
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One input, with the knobs that the model is set to before it runs."""

    id: str
    crops: int
    top_k: int
    active_blocks: int
    words: int
    tokens: int


def samples() -> list[Sample]:
    """All 81, shuffled within each prompt, so that drift of the machine follows no knob.

    Prompt by prompt: a run that was ended early has every setting before any has all prompts.
    """
    settings = list(product(CROPS, TOP, BLOCKS))
    lengths = {
        setting: random.Random(repr(setting)).sample(TOKENS, len(WORDS)) for setting in settings
    }
    found = []
    for place, words in enumerate(WORDS):
        shuffled = random.Random(place).sample(settings, len(settings))
        for crops, top_k, blocks in shuffled:
            found.append(
                Sample(
                    id=f"crops{crops}-top{top_k}-blocks{blocks}-words{words}",
                    crops=crops,
                    top_k=top_k,
                    active_blocks=blocks,
                    words=words,
                    tokens=lengths[crops, top_k, blocks][place],
                )
            )
    return found


def build(*, tiny: bool) -> MolmoE:
    """The model: of full size on the GPU, or tiny on the CPU."""
    return MolmoE.on("cpu", torch.float32, **_TINY) if tiny else MolmoE.on("cuda")


def prepared(model: MolmoE, sample: Sample) -> Mapping[str, torch.Tensor]:
    """Set the model's knobs, and make the sample's inputs: the same in each process."""
    torch.manual_seed(crc32(sample.id.encode()))
    model.set_knobs(top=sample.top_k, blocks=sample.active_blocks)
    return inputs_for(model, sample.crops, sample.words)


def features(sample: Sample, model: MolmoE) -> dict[str, Any]:
    """What a latency model may know of a sample (FEATURES), as the experiment names it."""
    vision = sample.crops * model.sizes.patches // 4
    tier = {1: "low", 4: "medium", 12: "high"}[sample.crops]
    values = (
        *(tier, sample.crops, sample.top_k, sample.active_blocks),
        *(vision, sample.words, vision + sample.words),
    )
    return dict(zip(FEATURES, values, strict=True))
