"""Record a series of unprofiled runs of one input, to test statistics of controls on.

The process never profiles. Every run is timed by CUDA events at the stage boundaries, as a control
of `capture` is, with the cost of an empty launch before each.

    python benchmarks/control_series.py --model random:llava-1b --runs 300 -o llava-1b.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from molmoe import MolmoE, inputs_for
from PIL import Image

from trace_timing.recording.hooks.attach import attach
from trace_timing.recording.model.loading import ModelChoice, load
from trace_timing.recording.model.locate import resolve
from trace_timing.recording.runs.control_sink import ControlSink, StreamMarks
from trace_timing.recording.samples import Sample, prepare

STAGES = ("vision_encoder", "projector", "vision", "prefill", "decode", "sampling", "other")
WARM_UP_RUNS = 8
LAUNCHES = 500


def main() -> None:
    """Record the series that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="random:llava-1b")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--note", default="", help="Kept in the file: what the machine was doing.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    model, inputs = built(options.model)
    runs = series(model, inputs, options.tokens, options.runs)
    found = {
        "model": options.model,
        "device": torch.cuda.get_device_name(),
        "torch": str(torch.__version__),
        "tokens": options.tokens,
        "note": options.note,
        "stages": STAGES,
        **runs,
    }
    options.output.write_text(json.dumps(found, separators=(",", ":")) + "\n")


def built(name: str) -> tuple[Any, Mapping[str, Any]]:
    """A model on the GPU and the inputs of its one sample."""
    if name == "molmoe":
        model = MolmoE.on("cuda")
        return model, inputs_for(model)
    loaded = load(ModelChoice(name=name))
    image = Image.new("RGB", (336, 336), "gray")
    sample = Sample(id="one", images=(image,), prompt="what is this")
    return loaded.model, prepare(sample, loaded.processor, loaded.model).inputs


def series(model: Any, inputs: Mapping[str, Any], tokens: int, count: int) -> dict[str, Any]:
    """Times in ns: `runs` by stage, `steps` by decode step with its sampling, and when each began.

    Returns:
        runs: count rows of len(STAGES); steps: count rows of tokens − 1; begun_ms and launch_ns
        (cost of an empty launch just before): count entries.
    """
    device = next(model.parameters()).device
    slot: list[Any] = [None]
    spare: list[Any] = []
    told: dict[str, list[Any]] = {"runs": [], "steps": [], "begun_ms": [], "launch_ns": []}
    begun = time.monotonic()
    with attach(resolve(model), lambda: slot[0]):
        for number in range(-WARM_UP_RUNS, count):
            launch = empty_launch_ns(device)
            at = time.monotonic()
            slot[0] = ControlSink(StreamMarks(device, spare))
            model.generate(**inputs, max_new_tokens=tokens)
            segments = slot[0].times().segments
            if number >= 0:
                told["runs"].append(by_stage(segments))
                told["steps"].append(by_step(segments))
                told["begun_ms"].append(round((at - begun) * 1e3))
                told["launch_ns"].append(round(launch))
    return told


def by_stage(segments: Any) -> list[int]:
    """Sums of a run's segments by stage, in the order of STAGES."""
    return [sum(s.duration_ns for s in segments if s.stage == stage) for stage in STAGES]


def by_step(segments: Any) -> list[int]:
    """Time of each step: its decode and the sampling after it."""
    steps: dict[int, int] = {}
    for s in segments:
        if s.stage in ("decode", "sampling") and s.step:
            steps[s.step] = steps.get(s.step, 0) + s.duration_ns
    return [steps[k] for k in sorted(steps)]


def empty_launch_ns(device: torch.device) -> float:
    """Host time of one launch of a kernel that has nothing to do, mean of LAUNCHES."""
    one = torch.empty(1, device=device)
    torch.cuda.synchronize(device)
    begin = time.perf_counter_ns()
    for _ in range(LAUNCHES):
        one.zero_()
    spent = time.perf_counter_ns() - begin
    torch.cuda.synchronize(device)
    return spent / LAUNCHES


if __name__ == "__main__":
    main()
