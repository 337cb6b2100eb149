"""Model code in miniature, on which a calibration tries its costs.

A tight loop has the profiler's code and its own in the processor's caches; a model's host code
evicts both between two launches, and then the same record costs more. How much more is measured
on loops that run a model's host code on a device that has next to nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from trace_timing.recording.probes import Probe

_ITERATIONS = 5
_LAYERS, _WIDTH, _HEADS = 16, 128, 4
_VISION_LAYERS = 24
_MOE_LAYERS, _EXPERTS, _TOP = 4, 16, 4
_WORDS = 512


def model_probes(device: torch.device) -> tuple[Probe, ...]:
    """A language model's decode step, a vision tower, and an eager loop over experts."""
    loops = {
        "decode_step": _decode_step(device),
        "vision_tower": _vision_tower(device),
        "expert_loop": _expert_loop(device),
    }
    return tuple(Probe(name, loop, iterations=_ITERATIONS) for name, loop in loops.items())


def _decode_step(device: torch.device) -> Callable[[int], None]:
    from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        num_key_value_heads=_HEADS,
        vocab_size=_WORDS,
    )
    model = LlamaForCausalLM(config).to(device, torch.bfloat16).eval()
    token = torch.ones((1, 1), dtype=torch.int64, device=device)

    def steps(n: int) -> None:
        with torch.inference_mode():
            cache = DynamicCache()
            for _ in range(n):
                model(input_ids=token, past_key_values=cache, use_cache=True)

    return steps


def _vision_tower(device: torch.device) -> Callable[[int], None]:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=_VISION_LAYERS,
        num_attention_heads=_HEADS,
        image_size=56,
        patch_size=14,
    )
    model = CLIPVisionModel(config).to(device, torch.bfloat16).eval()
    pixels = torch.zeros((1, 3, 56, 56), dtype=torch.bfloat16, device=device)

    def passes(n: int) -> None:
        with torch.inference_mode():
            for _ in range(n):
                model(pixel_values=pixels)

    return passes


def _expert_loop(device: torch.device) -> Callable[[int], None]:
    layers = [_Experts(device) for _ in range(_MOE_LAYERS)]
    hidden = torch.ones((1, _WIDTH), dtype=torch.bfloat16, device=device)

    def steps(n: int) -> None:
        with torch.inference_mode():
            for _ in range(n):
                state = hidden
                for layer in layers:
                    state = state + layer(state)

    return steps


class _Experts:
    """Every expert asks the device which tokens are its own, and so waits for it."""

    def __init__(self, device: torch.device) -> None:
        def linear(width: int) -> nn.Linear:
            return nn.Linear(_WIDTH, width, bias=False, device=device, dtype=torch.bfloat16)

        self._gate = linear(_EXPERTS)
        self._experts = [
            nn.Sequential(linear(_WIDTH), nn.SiLU(), linear(_WIDTH)) for _ in range(_EXPERTS)
        ]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """(tokens, width) in and out."""
        weight, chosen = torch.topk(self._gate(hidden).softmax(-1), _TOP, dim=-1)
        mask = functional.one_hot(chosen, _EXPERTS).permute(2, 1, 0)
        result = torch.zeros_like(hidden)
        for number, expert in enumerate(self._experts):
            slot, token = torch.where(mask[number])
            result.index_add_(0, token, expert(hidden[token]) * weight[token, slot, None])
        return result
