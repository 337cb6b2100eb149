"""How far a stage is from the hardware: the least bytes and operations, against measured rates.

floor ≤ busy ≤ window. Floor to busy is what faster kernels could win, busy to window what a host
that keeps up could. The floor counts only what no implementation can do without, so it is low on
purpose: weights once a forward, the KV cache once a step, matrix products; no activations.

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

A model that keeps less than a full KV cache (sliding windows, latent attention) can do with less
than this floor: then `holds` may be false, and says so.
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
    """What a stage must at least move and do."""

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
        """Weights of one token's forward: the least that a forward of any length reads, because
        all tokens may choose the same experts."""
        return self.dense + self.experts * self.experts_per_token / self.expert_count


def work_by_stage(
    model: Mapping[str, Any],
    *,
    tokens_in: int | None,
    tokens_out: int | None,
    steps: Sequence[int] | None = None,
) -> dict[Stage, Work]:
    """The least work of each stage that the manifest's `model` says enough about.

    One row of input (batch 1). A stage is absent where a figure for it is missing: no default.

    Args:
        model: recording.anatomy's description.
        tokens_in: positions of the prompt, image tokens among them; tokens_out: new positions.
        steps: numbers of the decode steps that count; None for all.
    """
    stages = model.get("stages") or {}
    work: dict[Stage, Work] = {}
    for stage in ("vision_encoder", "projector"):
        size = (stages.get(stage) or {}).get("bytes")
        if size:
            # How many patches pass is not recorded: the weights alone are sure.
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
    # Step i attends to tokens_in + i positions, its own among them.
    steps = len(numbers)
    positions = steps * tokens_in + sum(numbers)
    return Work(
        weight_bytes=round(steps * m.weights_used * m.bytes_per_weight),
        kv_bytes=round(2 * m.layers * m.kv_width * positions * m.bytes_per_weight),
        flops=round(2 * m.weights_used * steps) + 4 * m.layers * m.query_width * positions,
    )


def _language(model: Mapping[str, Any]) -> _Language | None:
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
    if dense <= table:  # a toy, all vocabulary: no floor can be told
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
    """The floor of a stage beside its busy time and its window."""
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
        windows, busy: of each stage in ns, decode's those of `steps`.
        steps: numbers of the decode steps that count; None for all.
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
