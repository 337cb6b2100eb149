"""This process's rank under torchrun, and agreement among ranks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trace_timing.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Rank of this process, and how many there are."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0


def shard_of_process(environ: Mapping[str, str] = os.environ) -> Shard:
    """Rank and world size from torchrun's environment variables; rank 0 of 1 without them.

    Raises:
        UsageError: they are no numbers, or the rank is not below the world size.
    """
    try:
        shard = Shard(
            rank=int(environ.get("RANK", 0)),
            world=int(environ.get("WORLD_SIZE", 1)),
            local_rank=int(environ.get("LOCAL_RANK", 0)),
        )
    except ValueError as error:
        raise UsageError(
            "RANK, WORLD_SIZE or LOCAL_RANK is no number",
            why=str(error),
            remedy="start it with torchrun, or unset them",
        ) from error
    if not 0 <= shard.rank < shard.world:
        raise UsageError(
            f"RANK {shard.rank} is not below WORLD_SIZE {shard.world}",
            remedy="start it with torchrun, or unset them",
        )
    return shard


def all_agree(agrees: bool, device: Any = "cpu") -> bool:
    """Whether every rank of the process group agrees; without a group, whether this process does.

    Where ranks make each run together, a rank that made one run more than the others would wait in
    its first collective for ever.

    Args:
        device: where this rank's model is, since NCCL reduces only on devices.
    """
    import torch
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return agrees
    agreed = torch.tensor(int(agrees), device=device)
    distributed.all_reduce(agreed, op=distributed.ReduceOp.MIN)
    return bool(agreed.item())
