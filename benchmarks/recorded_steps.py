"""Compare the busy time of recorded steps with that of the same steps where all are recorded.

    python benchmarks/recorded_steps.py           # 1B and OLMoE, 64 tokens, a minute and a half

Both are recorded in one process, in turns, so that neither has the better hour. Prints one JSON
object: by model the ratio (part ÷ all) of a step's busy time, medians over repeats, its quartiles
over the steps, and whether the median is within 1 %; launches against ops of every recorded step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import trace_timing
from trace_timing.recording.model.loading import ModelChoice, load
from trace_timing.recording.samples import Sample, prepare

MODELS = ("random:llava-1b", "random:llava-olmoe")
WITHIN = 0.01


def main() -> None:
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--record-steps", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    models = options.model or MODELS
    print(json.dumps({name: compared(name, options) for name in models}))


def compared(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The ratios of one model."""
    loaded = load(ModelChoice(name=name, device=options.device))
    image = Image.new("RGB", (336, 336), "gray")
    sample = Sample(id="one", images=(image,), prompt="what is this")
    inputs = prepare(sample, loaded.processor, loaded.model).inputs
    call = {**inputs, "max_new_tokens": options.tokens, "do_sample": False, "eos_token_id": None}
    with tempfile.TemporaryDirectory() as folder:
        places = {"part": Path(folder) / "part", "all": Path(folder) / "all"}
        for _ in range(options.repeats):
            for kind, steps in (("part", options.record_steps), ("all", "all")):
                _record(loaded.model, places[kind], steps, call)
        tables = {kind: trace_timing.analyze(place).steps for kind, place in places.items()}
    return ratios(tables["part"], tables["all"])


def _record(model: Any, place: Path, steps: Any, call: dict[str, Any]) -> None:
    """One more recorded run in a folder of its own below `place`."""
    number = len(list(place.iterdir())) if place.exists() else 0
    folder = place / f"{number}"
    with trace_timing.capture(folder, model, control=0, record_steps=steps, keep="json") as session:
        session.generate(f"run-{number}", **call)


def ratios(part: pd.DataFrame, whole: pd.DataFrame) -> dict[str, Any]:
    """Of the steps that `part` has recorded: part ÷ all, by step, medians over runs.

    Args:
        part, whole: schema.STEPS.
    """
    recorded = part[part["recorded"]]
    here, there = (t.groupby("step")["busy_ns"].median().astype(float) for t in (recorded, whole))
    each = (here / there.reindex(here.index)).to_numpy()
    equal = recorded["launches"] == recorded["gpu_ops"]
    return {
        "steps": len(each),
        "unrecorded": part["unrecorded_reason"].value_counts().to_dict(),
        "busy_ms": float(np.median(there)) / 1e6,
        "ratio": float(np.median(each)),
        "quartiles": np.quantile(each, [0.25, 0.75]).tolist(),
        "within_1_percent": bool(abs(np.median(each) - 1) <= WITHIN),
        "ops_a_step": sorted({int(n) for n in recorded["gpu_ops"]}),
        "every_launch_has_its_op": bool(equal.all()),
    }


if __name__ == "__main__":
    main()
