"""Ranks share the samples out and never one file."""

from __future__ import annotations

import pytest

from trace_timing.errors import UsageError
from trace_timing.recording.runs.ranks import Shard, shard_of_process
from trace_timing.recording.samples import Sample, shard


def test_alone_without_torchrun() -> None:
    assert shard_of_process({}) == Shard(rank=0, world=1, local_rank=0)


def test_the_ranks_take_every_sample_once() -> None:
    samples = [Sample(id=str(i)) for i in range(7)]
    parts = [shard(samples, rank, 3) for rank in range(3)]
    assert sorted(s.id for part in parts for s in part) == [s.id for s in samples]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("environ", [{"RANK": "x"}, {"RANK": "2", "WORLD_SIZE": "2"}])
def test_nonsense_from_the_environment_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="RANK"):
        shard_of_process(environ)
