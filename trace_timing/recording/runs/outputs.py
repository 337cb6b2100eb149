"""Count and fingerprint the tokens that generate() returned, without changing the output."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Token figures of a run record; None where the output does not contain them."""

    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_out_total: int | None = None
    tokens_sha256: str | None = None


def count(output: Any, inputs: Mapping[str, Any], model: Any) -> Tokens:
    """New tokens of a generate() call.

    A decoder returns the prompt before the new tokens, unless it was given embeddings alone; an
    encoder-decoder returns its start token before them.
    """
    ids = sequences_of(output)
    prompt = inputs.get("input_ids")
    tokens_in = int(prompt.shape[1]) if isinstance(prompt, torch.Tensor) else None
    if ids is None:
        return Tokens(tokens_in=tokens_in)
    new = ids[:, _given(ids, prompt, model) :]
    return Tokens(
        tokens_in=tokens_in,
        tokens_out=int(new.shape[1]),
        tokens_out_total=_total(new, model),
        tokens_sha256=fingerprint(ids),
    )


def sequences_of(output: Any) -> torch.Tensor | None:
    """The token ids of an output (rows × positions); None if it has none."""
    ids = getattr(output, "sequences", output)
    if isinstance(ids, torch.Tensor) and ids.dim() == 2 and not ids.is_floating_point():
        return ids
    return None


def fingerprint(ids: torch.Tensor) -> str:
    """A digest of ids and their shape."""
    digest = hashlib.sha256(repr(tuple(ids.shape)).encode())
    digest.update(ids.detach().to("cpu", torch.int64).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _given(ids: torch.Tensor, prompt: Any, model: Any) -> int:
    """Number of positions of the output before the new tokens."""
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return 1
    if not isinstance(prompt, torch.Tensor) or prompt.dim() != 2:
        return 0
    length = int(prompt.shape[1])
    if ids.shape[1] < length or ids.shape[0] % prompt.shape[0]:
        return 0
    rows = prompt.repeat_interleave(ids.shape[0] // prompt.shape[0], dim=0).to(ids.device)
    return length if torch.equal(ids[:, :length], rows) else 0


def _total(new: torch.Tensor, model: Any) -> int:
    """New tokens over all rows, each up to its first end-of-text token, which is included."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if ends is None:
        return int(new.numel())
    wanted = torch.as_tensor(ends, device=new.device).reshape(-1)
    is_end = torch.isin(new, wanted)
    after = is_end.cumsum(dim=1) - is_end.to(torch.int64)
    return int((after == 0).sum())
