"""A process that never profiles, and times samples on request in one of two ways.

    python -m benchmarks.latency_model_worker truth      # reads JSON lines from stdin

`truth` runs whole generate() calls with an event at each forward's ends. `subtraction` labels a
sample as the experiment did: each part in a pass of its own, decode by difference. Nothing of
trace_timing is used here: what measures must not be what is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from transformers import DynamicCache

from benchmarks.latency_model_samples import TOKENS, Sample, build, features, prepared, samples
from benchmarks.molmoe import MolmoE

#: Output tokens of the unmeasured runs of an input shape that the process has not had: with cuDNN's
#: attention the first step to each length of the cache is slow, so one goes to every length.
WARM_UP = (max(TOKENS), min(TOKENS))


class Worker:
    """The process, seen from the one that asks."""

    def __init__(self, way: str, *, tiny: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.latency_model_worker", way]
        self._process = subprocess.Popen(
            command + ["--tiny"] * tiny, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, sample: Sample, runs: int = 1) -> Any:
        """Have the process measure a sample."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"sample": sample.id, "runs": runs}) + "\n")
        stdin.flush()
        if not (answer := stdout.readline()):
            raise RuntimeError(f"the worker ended with {self._process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


class Marks:
    """Points in time on the device, or on the host where there is none."""

    def __init__(self, device: torch.device) -> None:
        self._on_device = device.type == "cuda"
        self._marks: list[Any] = []

    def __call__(self, *_: Any) -> None:
        if not self._on_device:
            self._marks.append(time.perf_counter() * 1e3)
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append(event)

    def stretches_ms(self) -> list[float]:
        """From each mark to the next."""
        if not self._on_device:
            return [b - a for a, b in pairwise(self._marks)]
        torch.cuda.synchronize()
        since = [self._marks[0].elapsed_time(mark) for mark in self._marks]
        return [b - a for a, b in pairwise(since)]


class WarmModel:
    """A model that has run each input shape before it is measured with it."""

    def __init__(self, model: MolmoE) -> None:
        self._model = model
        self._warm: set[tuple[int, int]] = set()

    def prepared(self, sample: Sample) -> Mapping[str, Any]:
        """The sample's inputs, with the model's knobs set and its shape warm."""
        inputs, shape = prepared(self._model, sample), (sample.crops, sample.words)
        for tokens in () if shape in self._warm else WARM_UP:
            self._model.generate(**inputs, max_new_tokens=tokens)
        self._warm.add(shape)
        return inputs


class Truth(WarmModel):
    """Whole generate() calls of a process that never profiles."""

    def __call__(self, sample: Sample, runs: int) -> list[dict[str, float]]:
        inputs = self.prepared(sample)
        return [self._timed(inputs, sample.tokens) for _ in range(runs)]

    def _timed(self, inputs: Mapping[str, Any], tokens: int) -> dict[str, float]:
        """One run: vision and prefill are the first forward, decode is the sum of the others."""
        marks = Marks(next(self._model.parameters()).device)
        hooks = (
            self._model.register_forward_pre_hook(marks),
            self._model.register_forward_hook(marks),
        )
        _synchronize()
        marks()
        self._model.generate(**inputs, max_new_tokens=tokens)
        marks()
        for hook in hooks:
            hook.remove()
        stretches = marks.stretches_ms()
        forwards = stretches[1::2]  # what is between them is sampling
        assert len(forwards) == tokens
        return {
            "T_prefill_total_ms": forwards[0],
            "T_LLM_decode_ms": sum(forwards[1:]),
            "T_total_ms": sum(stretches),
        }


class Subtraction(WarmModel):
    """Labels as the experiment made them: parts in their own passes, decode as what is left.

    But for the warm-up of each shape, so that what is wrong is the method's.
    """

    @torch.no_grad()
    def __call__(self, sample: Sample, _runs: int) -> dict[str, Any]:
        model, inputs = self._model, self.prepared(sample)
        ids, images = inputs["input_ids"], inputs["images"]
        encoder, _ = _wall_ms(lambda: model.vision_backbone.encode_image(images))
        vision, made = _wall_ms(lambda: model.vision_backbone(images))
        prefill, _ = _wall_ms(lambda: model(ids, cache=DynamicCache(), features=made))
        forward, _ = _wall_ms(lambda: model(ids, images, DynamicCache()))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        total, _ = _wall_ms(lambda: model.generate(**inputs, max_new_tokens=sample.tokens))
        decode = max(0.0, total - vision - prefill)
        return {
            "sample_id": sample.id,
            **features(sample, model),
            "output_tokens": sample.tokens,
            "T_vit": encoder,
            "T_projector": max(0.0, vision - encoder),
            "T_vision_total": vision,
            "T_LLM_prefill": prefill,
            "T_full_forward": forward,
            "T_LLM_decode": decode,
            "T_total": total,
            "T_decode_per_token": decode / sample.tokens,
        }


def _wall_ms(run: Callable[[], Any]) -> tuple[float, Any]:
    _synchronize()
    begin = time.perf_counter()
    result = run()
    _synchronize()
    return (time.perf_counter() - begin) * 1e3, result


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


WAYS: Mapping[str, Callable[[MolmoE], Any]] = {"truth": Truth, "subtraction": Subtraction}


def main() -> None:
    """Answer requests until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    if options.tiny:
        torch.set_num_threads(1)
    by_id = {sample.id: sample for sample in samples()}
    measure = WAYS[options.way](build(tiny=options.tiny))
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(measure(by_id[asked["sample"]], asked["runs"])), flush=True)


if __name__ == "__main__":
    main()
