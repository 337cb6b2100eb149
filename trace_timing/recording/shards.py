"""Which part of the samples this process takes, when torchrun started several."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from trace_timing.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Shard:
    """This process among its peers."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0


def shard_of_process(environ: Mapping[str, str] = os.environ) -> Shard:
    """Rank and world size as torchrun puts them into the environment; alone without them.

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
