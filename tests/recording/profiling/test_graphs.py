"""Replays of CUDA graphs are seen where Python makes them."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
import torch

from trace_timing.recording.profiling.graphs import watch_replays

pytestmark = pytest.mark.capture


def test_replays_are_counted_within_and_the_method_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[object] = []
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", done.append)
    original = torch.cuda.CUDAGraph.replay
    graph = object()
    with watch_replays() as replays:
        torch.cuda.CUDAGraph.replay(graph)
        torch.cuda.CUDAGraph.replay(graph)
    torch.cuda.CUDAGraph.replay(graph)
    assert replays.seen == 2
    assert done == [graph] * 3
    assert torch.cuda.CUDAGraph.replay is original


def test_the_method_is_put_back_also_when_a_run_raises() -> None:
    original = torch.cuda.CUDAGraph.replay
    with pytest.raises(ValueError, match="no"), watch_replays():
        raise ValueError("no")
    assert torch.cuda.CUDAGraph.replay is original
