"""How far a stage is from the hardware's limit: least bytes and operations at measured rates.

floor ≤ busy ≤ window. From floor to busy is what faster kernels could gain, from busy to window
what a host that keeps up could. The floor counts only what every implementation needs, so it is low
on purpose: weights once a forward, the KV cache once a step, matrix products; no activations.

Formulas:
- a forward does 2 operations a weight and token (Kaplan et al. 2020, "Scaling Laws for Neural
  Language Models", section 2.1); of experts only those a token is routed to;
- attention does 2 products of length × head width each for a query: 4 · layers · heads · head_dim
  operations a (query, key) pair; causal prefill has T (T + 1) / 2 pairs;
- the KV cache holds 2 · layers · kv_heads · head_dim values a position; a decode step reads all;
- bytes and operations overlap at best, so the floor is the longer of the two (the roofline:
  Williams, Waterman and Patterson 2009).
An embedding table is looked up, not multiplied: one table of vocabulary × width is left out, and a
second one of prefill's operations, whose head runs on the last position alone.

A model with less than a full KV cache (sliding windows, latent attention) can be below this floor;
then `holds` may be false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from trace_timing.records.manifest import HardwareRates, Manifest
from trace_timing.records.runs import RunRecord
from trace_timing.schema.breakdown import Limit
from trace_timing.stages import Stage
from trace_timing.units import NS_PER_S


@dataclass(frozen=True, kw_only=True)
class Work:
    """The least bytes and operations of a stage."""

    weight_bytes: int
    kv_bytes: int
    flops: int

    @property
    def moved_bytes(self) -> int:
        """Weights and KV cache."""
        return self.weight_bytes + self.kv_bytes


@dataclass(frozen=True, kw_only=True)
class _Language:
    """The language model's figures, from the manifest's `model`."""

    #: Weights outside the experts, less one table of vocabulary × width.
    dense: int
    #: vocabulary × width.
    table: int
    experts: int
    expert_count: int
    experts_per_token: int
    bytes_per_weight: float
    layers: int
    query_width: int
    kv_width: int

    @property
    def weights_used(self) -> float:
        """Weights that one token's forward reads: the least for any number of tokens, because all
        may choose the same experts."""
        return self.dense + self.experts * self.experts_per_token / self.expert_count


def work_by_stage(
    model: Mapping[str, Any],
    *,
    tokens_in: int | None,
    tokens_out: int | None,
    steps: Sequence[int] | None = None,
) -> dict[Stage, Work]:
    """The least work of each stage, for one row of input (batch 1).

    Stages for which `model` lacks a figure are absent.

    Args:
        model: description in the manifest, from recording.model.description.
        tokens_in: positions of the prompt, image tokens included.
        tokens_out: new positions.
        steps: numbers of the decode steps to include; None for all.
    """
    stages = model.get("stages") or {}
    work: dict[Stage, Work] = {}
    for stage in ("vision_encoder", "projector"):
        size = (stages.get(stage) or {}).get("bytes")
        if size:
            # The number of patches is not recorded, so only the weights are certain.
            work[stage] = Work(weight_bytes=int(size), kv_bytes=0, flops=0)
    language = _language(model)
    if language is None or tokens_in is None:
        return work
    work["prefill"] = _prefill(language, tokens_in)
    if tokens_out is not None and tokens_out > 1:
        work["decode"] = _decode(
            language, tokens_in, range(1, tokens_out) if steps is None else steps
        )
    return work


def _prefill(m: _Language, tokens: int) -> Work:
    pairs = tokens * (tokens + 1) // 2
    return Work(
        weight_bytes=round(m.weights_used * m.bytes_per_weight),
        kv_bytes=round(2 * m.layers * m.kv_width * tokens * m.bytes_per_weight),
        flops=round(2 * (m.weights_used - m.table) * tokens) + 4 * m.layers * m.query_width * pairs,
    )


def _decode(m: _Language, tokens_in: int, numbers: Sequence[int]) -> Work:
    # Step i attends to tokens_in + i positions, its own included.
    steps = len(numbers)
    positions = steps * tokens_in + sum(numbers)
    return Work(
        weight_bytes=round(steps * m.weights_used * m.bytes_per_weight),
        kv_bytes=round(2 * m.layers * m.kv_width * positions * m.bytes_per_weight),
        flops=round(2 * m.weights_used * steps) + 4 * m.layers * m.query_width * positions,
    )


def _language(model: Mapping[str, Any]) -> _Language | None:
    """The language model's figures; None where one is missing."""
    weights = (model.get("stages") or {}).get("language") or {}
    sizes = model.get("text_config") or {}
    experts = (model.get("experts") or {}).get("parameters") or 0
    layers, heads, hidden = (sizes.get(name) for name in ("layers", "heads", "hidden_size"))
    total, size = weights.get("parameters"), weights.get("bytes")
    if not (layers and heads and hidden and total and size):
        return None
    if experts and not (sizes.get("experts") and sizes.get("experts_per_token")):
        return None
    head_dim = sizes.get("head_dim") or hidden // heads
    table = (sizes.get("vocab_size") or 0) * hidden
    dense = total - experts - table
    if dense <= table:  # a toy model, nearly all vocabulary: no floor
        return None
    return _Language(
        dense=dense,
        table=table,
        experts=experts,
        expert_count=sizes.get("experts") or 1,
        experts_per_token=sizes.get("experts_per_token") or 1,
        bytes_per_weight=size / total,
        layers=layers,
        query_width=heads * head_dim,
        kv_width=(sizes.get("kv_heads") or heads) * head_dim,
    )


def limit(stage: Stage, work: Work, rates: HardwareRates, *, busy_ns: int, window_ns: int) -> Limit:
    """The floor of a stage, with its busy time and window."""
    memory_s = work.moved_bytes / rates.copy_bytes_per_s
    compute_s = work.flops / rates.matmul_flops_per_s
    floor_ns = round(max(memory_s, compute_s) * NS_PER_S)
    return Limit(
        stage=stage,
        weight_bytes=work.weight_bytes,
        kv_bytes=work.kv_bytes,
        flops=work.flops,
        floor_ns=floor_ns,
        bound_by="memory" if memory_s >= compute_s else "compute",
        busy_ns=busy_ns,
        window_ns=window_ns,
        floor_frac=floor_ns / busy_ns if busy_ns else None,
        holds=floor_ns <= busy_ns <= window_ns,
    )


def limits(
    manifest: Manifest | None,
    record: RunRecord | None,
    windows: Mapping[Stage, int],
    busy: Mapping[Stage, int],
    steps: Sequence[int] | None = None,
) -> tuple[Limit, ...]:
    """Floors of one run's stages; empty where model, tokens or the device's rates are unknown.

    Args:
        windows, busy: ns of each stage; decode's are of `steps`.
        steps: numbers of the decode steps to include; None for all.
    """
    if manifest is None or record is None or manifest.rates is None:
        return ()
    rates = msgspec.convert(manifest.rates, HardwareRates)
    work = work_by_stage(
        manifest.model, tokens_in=record.tokens_in, tokens_out=record.tokens_out, steps=steps
    )
    return tuple(
        limit(stage, some, rates, busy_ns=busy[stage], window_ns=windows[stage])
        for stage, some in work.items()
        if windows.get(stage)
    )
