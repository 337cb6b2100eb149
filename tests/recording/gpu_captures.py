"""One capture on a GPU in a process of its own, as `python gpu_captures.py KIND ORDER FOLDER`.

CUPTI is the process's, and a CUDA context that dies takes the process with it. Prints `alive` once
the device has done more work after the capture.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import trace_timing
from tests.recording.models import llama
from trace_timing.api.capture.sample_loop import SampleLoop, capture_samples
from trace_timing.recording.model.loading import ModelChoice, load
from trace_timing.recording.samples import Sample

DEVICE = "cuda"
IMAGE = Image.new("RGB", (336, 336), "gray")
SAMPLES = [
    Sample(id=f"s{i}", images=(IMAGE,), prompt="what is in this image", max_new_tokens=12)
    for i in range(4)
]


def plain(folder: Path, order: str) -> None:
    """LLaVA with a 1B Llama, as a user captures it."""
    loaded = load(ModelChoice(name="random:llava-1b"))
    _capture(folder, order, loaded.model, loaded.processor)


def long(folder: Path, order: str) -> None:
    """The same for 60 tokens, of which eight steps are recorded."""
    loaded = load(ModelChoice(name="random:llava-1b"))
    samples = [replace(sample, max_new_tokens=60) for sample in SAMPLES]
    loop = SampleLoop(generate_options={"do_sample": False, "eos_token_id": None})
    _capture(
        folder, order, loaded.model, loaded.processor, loop=loop, samples=samples, record_steps=8
    )


def graph(folder: Path, order: str, *, warm_up: bool = True) -> None:
    """A model whose generate() replays a CUDA graph that its user captured by hand."""
    loaded = load(ModelChoice(name="tiny-llava", device=DEVICE))
    replayed = _captured_graph()
    generate = loaded.model.generate

    def with_graph(*args: Any, **kwargs: Any) -> Any:
        output = generate(*args, **kwargs)
        replayed.replay()
        return output

    loaded.model.generate = with_graph
    _capture(folder, order, loaded.model, loaded.processor, warm_up=warm_up)
    replayed.replay()


def cold_graph(folder: Path, order: str) -> None:
    """The same without a warm-up, which would have shown the replays."""
    graph(folder, order, warm_up=False)


def compiled(folder: Path, order: str) -> None:
    """transformers' compiled decode over a static cache."""
    model = llama().model.to(DEVICE)
    loop = SampleLoop(generate_options={"cache_implementation": "static", "do_sample": False})
    _capture(folder, order, model, _Tokens(), loop=loop)
    model.generate(_Tokens.ids.to(DEVICE), max_new_tokens=12, cache_implementation="static")


class _Tokens:
    """A processor that gives every sample the same tokens."""

    ids = torch.tensor([[1, 7, 8, 9]])

    def apply_chat_template(self, *_: Any, **__: Any) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids, "attention_mask": torch.ones_like(self.ids)}


def _captured_graph() -> torch.cuda.CUDAGraph:
    values = torch.ones(1 << 16, device=DEVICE)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        values.mul_(1.0)
    torch.cuda.current_stream().wait_stream(side)
    made = torch.cuda.CUDAGraph()
    with torch.cuda.graph(made):
        for _ in range(8):
            values.mul_(1.0)
    return made


def _capture(
    folder: Path,
    order: str,
    model: Any,
    processor: Any,
    *,
    loop: SampleLoop | None = None,
    samples: Sequence[Sample] = SAMPLES,
    **options: Any,
) -> None:
    with trace_timing.capture(folder, model, order=order, keep="json", **options) as session:
        for step in capture_samples(session, samples, model, processor, loop or SampleLoop()):
            failed = [r.reason for r in step.records if r.status == "failed"]
            if failed:
                raise SystemExit(f"{step.sample_id}: {failed}")


if __name__ == "__main__":
    kinds = {
        "plain": plain,
        "long": long,
        "graph": graph,
        "cold_graph": cold_graph,
        "compiled": compiled,
    }
    kinds[sys.argv[1]](Path(sys.argv[3]), sys.argv[2])
    torch.cuda.synchronize()
    print("alive")
