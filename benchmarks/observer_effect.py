"""How far profiling stretches stages on this GPU, and how well correction takes that out again.

Each model is captured in both modes, every profiled run beside a control, and analysed as any
capture is: calibrated costs, factor fitted on the pairs, replay, and the control's own segments.

    python benchmarks/observer_effect.py                        # all four models, 10 pairs a mode
    python benchmarks/observer_effect.py --models molmoe --modes ranges --pairs 20

Prints one JSON object: by model and mode the medians of profiled ÷ control and corrected ÷ control
for vision, prefill, decode step and total, with 95 % intervals and the tool's own verdicts.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import torch
from molmoe import MolmoE, inputs_for
from PIL import Image

import trace_timing
from trace_timing.api.analysis import Analysis
from trace_timing.recording import environment
from trace_timing.recording.inputs import Sample, prepare
from trace_timing.recording.models import ModelChoice, load

LLAVAS = ("random:llava-1b", "random:llava-8b", "random:llava-olmoe")
MODES = ("ranges", "full")
#: Controls beside each profiled run: cheap against a profiled run and its analysis.
CONTROLS = 2
TOKENS = {"molmoe": 5}
SHOWN = ("vision", "prefill", "step", "decode", "total")


def main() -> None:
    """Calibrate, capture and analyse what the command line names, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[*LLAVAS, "molmoe"])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    options = parser.parse_args()
    costs = calibrated()
    found: dict[str, Any] = {}
    for name in options.models:
        tokens = TOKENS.get(name, options.tokens)
        found[name] = measure(name, options.modes, options.pairs, tokens, costs)
        gc.collect()  # a model holds itself in cycles, and the next one needs its memory
        torch.cuda.empty_cache()
    print(
        json.dumps(
            {
                "date": date.today().isoformat(),
                "command": " ".join(["python", *sys.argv]),
                "environment": environment.describe(),
                "calibration": costs,
                "models": found,
            }
        )
    )


def calibrated() -> dict[str, Any]:
    """What `doctor --calibrate` finds, in a process of its own: its sessions are many."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "costs.json"
        doctor = [sys.executable, "-m", "trace_timing", "doctor", "--calibrate", "-o", str(path)]
        subprocess.run(doctor, check=True, stdout=sys.stderr)
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def measure(name: str, modes: Sequence[str], pairs: int, tokens: int, costs: Any) -> dict[str, Any]:
    """The modes on one model: its ratios, verdicts and sentences."""
    model, inputs = built(name)
    figures: dict[str, Any] = {}
    for mode in modes:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            captured(Path(folder), model, inputs, mode, pairs, tokens, costs)
            figures[mode] = told(trace_timing.analyze(folder))
        figures[mode]["took_s"] = round(time.monotonic() - begun, 1)
        print(f"{name} {mode}: {figures[mode]['sentence']}", file=sys.stderr, flush=True)
    return figures


def built(name: str) -> tuple[Any, Mapping[str, Any]]:
    """A model on the GPU and the inputs of its one sample."""
    if name == "molmoe":
        model = MolmoE.on("cuda")
        return model, inputs_for(model)
    loaded = load(ModelChoice(name=name))
    image = Image.new("RGB", (336, 336), "gray")
    sample = Sample(id="one", images=(image,), prompt="what is this")
    return loaded.model, prepare(sample, loaded.processor, loaded.model).inputs


def captured(
    folder: Path,
    model: Any,
    inputs: Mapping[str, Any],
    mode: str,
    pairs: int,
    tokens: int,
    costs: Any,
) -> None:
    """Capture interleaved pairs of one sample."""
    with trace_timing.capture(
        folder,
        model,
        profile=mode,
        control=CONTROLS,
        keep="json",
        calibration=costs,
    ) as session:
        for _ in range(pairs):
            session.generate("one", **inputs, max_new_tokens=tokens)


def told(analysis: Analysis) -> dict[str, Any]:
    """What the analysis says of the observer effect, and medians of the times themselves."""
    effect = analysis.observer
    assert effect is not None
    medians = analysis.samples.filter(regex="^T_(total|LLM|vision_total|step).*_ms$").median()
    return {
        "sentence": effect.sentence,
        "groups": {g.group: msgspec.to_builtins(g) for g in effect.groups if g.group in SHOWN},
        "undisturbed_step": msgspec.to_builtins(effect.undisturbed_step),
        "hooked_over_bare": msgspec.to_builtins(effect.hooks),
        "median_ms": {name: round(float(ms), 3) for name, ms in medians.items() if ms == ms},
        "laws_hold": analysis.laws_hold,
        "doubts": [d.code for d in analysis.doubts],
        "rejections": [r.reason for r in analysis.rejections],
    }


if __name__ == "__main__":
    main()
