"""Measure what a launch costs after a detach ÷ before any session, in an interleaved capture.

    python benchmarks/launch_costs.py        # LLaVA 1B, OLMoE and MolmoE, twice each

Each capture is a process of its own, of `SAMPLES` calls of `session.generate` with their controls.
`never` is the same ratio before any session, over as many runs that are not profiled: what the
machine itself moves.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import torch
from unprofiled import built

from trace_timing.recording.profiling.detach import BEFORE_BLOCKS, attachment_of_process
from trace_timing.recording.profiling.launch_probe import LaunchProbe, probe_of, ratio_of

MODELS = ("random:llava-1b", "random:llava-olmoe", "molmoe")
TOKENS = {"molmoe": 5}
SAMPLES, CONTROLS = 4, 2


def main() -> None:
    """Measure the models, each time in a process of its own, and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one)))
        return
    for name in options.models * options.times:
        command = [sys.executable, __file__, "--one", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        found = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else "failed"
        print(json.dumps({"date": date.today().isoformat(), "model": name, "costs": found}))
        sys.stdout.flush()


def measured(name: str) -> dict[str, Any]:
    """`settings.detach` of one capture, and the ratio before it."""
    import trace_timing

    model, inputs = built(name)
    inputs["max_new_tokens"] = TOKENS.get(name, 12)
    device = next(model.parameters()).device
    attachment = attachment_of_process(device)
    attachment.probe = probe = probe_of(device)
    never = never_profiled(model, inputs, probe)
    with tempfile.TemporaryDirectory() as folder:
        with trace_timing.capture(folder, model, control=CONTROLS) as session:
            for number in range(SAMPLES):
                session.generate(f"sample-{number}", **inputs)
        manifest = json.loads((Path(folder) / "manifest.json").read_text())
    return {
        "device": torch.cuda.get_device_name(),
        "never": never,
        **manifest["settings"]["detach"],
    }


def never_profiled(
    model: Any, inputs: dict[str, Any], probe: LaunchProbe
) -> dict[str, float] | None:
    """Launch cost after some runs ÷ before them, as `CuptiAttachment` measures it."""
    model.generate(**inputs)
    then = probe.blocks(lambda costs: len(costs) >= BEFORE_BLOCKS)
    for _ in range(1 + CONTROLS):
        model.generate(**inputs)
    now = probe.blocks(lambda costs: len(costs) >= BEFORE_BLOCKS)
    ratio = ratio_of(now, then)
    return None if ratio is None else ratio.as_dict()


if __name__ == "__main__":
    main()
