"""Record small traces for the tests of `why`, each with one feature of a real device.

    python benchmarks/why_captures.py OUTPUT                       # two H100s: six minutes
    python benchmarks/why_captures.py OUTPUT --device cpu --tiny   # does it run at all?

`components`: ranges around the parts of every layer of a mixture of experts. `full_dense`,
`full_moe`: the same beside CPU ops, which tells whether parts can be known without the ranges.
`graphs`: a static cache and a compiled decode step, replayed as CUDA graphs. `allocator`: the
cache emptied before the run, so that stages wait for cudaMalloc. `ranks`: two processes on one
device make one sample together, the second with four rows. `tensor_parallel`: one model over two
devices, a process each, which meet in NCCL's collectives (two GPUs). `devices`: one model over two
devices in one process, layer after layer (two GPUs).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import trace_timing
from trace_timing.recording.model.presets import StandInProcessor, build

PROMPT = "what is on the left of this picture and what is on the right of it"
MOE, DENSE = "random:llava-olmoe", "random:llava-1b"


class Maker:
    """Builds models once and records a sample of each into a folder of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.output: Path = options.output
        self.device, self.tiny = options.device, options.tiny
        self.rates: Path | None = options.rates
        self.saved_model: Path | None = options.saved_model

    @property
    def dtype(self) -> torch.dtype:
        """As a user would load the model."""
        return torch.float32 if self.device == "cpu" else torch.bfloat16

    def build(self, preset: str) -> Any:
        """A preset with random weights on the device."""
        return build("tiny-llava" if self.tiny else preset, device=self.device, dtype=self.dtype)

    def record(
        self,
        folder: str,
        preset: str,
        tokens: int,
        *,
        rows: int = 1,
        call: Any = None,
        model: Any = None,
        **how: Any,
    ) -> None:
        """One sample of a preset, or of the `model` made from it, with one control."""
        preset = "tiny-llava" if self.tiny else preset
        model = self.build(preset) if model is None else model
        inputs = _inputs(model.config, model.device, self.dtype, rows)
        limits = {"max_new_tokens": tokens, "min_new_tokens": tokens, **(call or {})}
        settings = {"model": preset, "dtype": str(self.dtype).removeprefix("torch.")}
        together = torch.distributed.is_initialized()
        if together:
            model.generate(**inputs, **limits)
        with trace_timing.capture(
            self.output / folder,
            model,
            settings=settings,
            rates=self.rates,
            tensor_parallel=together,
            # Ranks warm up by themselves, as often as they like: they may only meet in runs.
            warm_up=not together,
            **how,
        ) as session:

            def run() -> Any:
                if together:
                    torch.distributed.barrier()
                return model.generate(**inputs, **limits)

            session.measure(folder, run, meta={"batch": rows}, inputs=inputs)
            refused = [r.reason for r in session.last if r.status == "failed"]
        if refused:
            print(folder, "refused:", *refused)
            with torch.profiler.profile() as profiler:
                run()
            profiler.export_chrome_trace(str(self.output / folder / "refused.json.gz"))


def _inputs(config: Any, device: Any, dtype: torch.dtype, rows: int) -> dict[str, torch.Tensor]:
    processor = StandInProcessor(config)
    side = config.vision_config.image_size
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    ids = [1, *[2] * processor.image_tokens, *(processor._id(word) for word in PROMPT.split())]
    tokens = torch.tensor([ids] * rows, device=device)
    return {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "pixel_values": pixels.to(device, dtype).repeat(rows, 1, 1, 1),
    }


def _graphs(maker: Maker) -> None:
    from transformers import CompileConfig

    config = CompileConfig(mode="reduce-overhead", fullgraph=False)
    call = {"cache_implementation": "static", "compile_config": config}
    maker.record("graphs", DENSE, 6, call=call, keep="json")


def _one_rank(maker: Maker) -> None:
    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group("gloo")
    maker.record("ranks", DENSE, 3, rows=1 + 3 * rank, keep="json")
    torch.distributed.destroy_process_group()


def _ranks(_: Maker) -> None:
    _two_processes("--only", "one_rank")


def _shard(maker: Maker) -> None:
    # transformers takes the rank's device and the group's backend (NCCL, gloo) by itself.
    model = _placed(maker, maker.saved_model, tp_plan="auto")
    maker.record("tensor_parallel", DENSE, 4, model=model, keep="json")
    torch.distributed.destroy_process_group()


def _tensor_parallel(maker: Maker) -> None:
    with tempfile.TemporaryDirectory() as folder:
        maker.build(DENSE).save_pretrained(folder)
        _two_processes("--only", "shard", "--saved-model", folder)


def _devices(maker: Maker) -> None:
    with tempfile.TemporaryDirectory() as folder:
        maker.build(DENSE).save_pretrained(folder)
        model = _placed(maker, folder, device_map="balanced")
        maker.record("devices", DENSE, 4, model=model, keep="json")


def _placed(maker: Maker, folder: Any, **where: Any) -> Any:
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=maker.dtype, **where)
    return model.eval()


def _two_processes(*arguments: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *sys.argv]
    subprocess.run([*command, *arguments], check=True)


#: What each of several processes does.
PROCESSES: dict[str, Callable[[Maker], None]] = {"one_rank": _one_rank, "shard": _shard}


MAKERS: dict[str, Callable[[Maker], None]] = {
    "components": lambda m: m.record("components", MOE, 3, detail="components", keep="json"),
    "full_dense": lambda m: m.record(
        "full_dense", DENSE, 3, detail="components", profile="full", keep="store"
    ),
    "full_moe": lambda m: m.record(
        "full_moe", MOE, 2, detail="components", profile="full", keep="store"
    ),
    "allocator": lambda m: m.record("allocator", DENSE, 3, cuda_cache="empty", keep="json"),
    "graphs": _graphs,
    "ranks": _ranks,
    "tensor_parallel": _tensor_parallel,
    "devices": _devices,
}


def _made(name: str, maker: Maker) -> bool:
    try:
        MAKERS[name](maker)
    except Exception:
        traceback.print_exc()
        return False
    return True


def main() -> int:
    """Record the traces asked for; a failed one does not stop the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", help="one of " + ", ".join(MAKERS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--rates", type=Path, help="what `doctor --rates -o` wrote")
    parser.add_argument("--saved-model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    maker = Maker(options)
    if options.only in PROCESSES:
        PROCESSES[options.only](maker)
        return 0
    names = [options.only] if options.only else list(MAKERS)
    failed = [name for name in names if not _made(name, maker)]
    print("recorded", *(name for name in names if name not in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
