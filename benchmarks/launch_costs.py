"""Measure what a launch costs after a detach ÷ before any session, in an interleaved capture.

    python benchmarks/launch_costs.py        # LLaVA 1B, OLMoE and MolmoE, twice each
    python benchmarks/launch_costs.py --one-core      # all launch costs of a process on one core

Each capture is a process of its own, of `SAMPLES` calls of `session.generate` with their controls.
`never` is the same ratio before any session, over as many runs that are not profiled: what the
machine itself moves. `quiet_ratio` compares the least costs of launches alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from quiet_core import quietest
from unprofiled import built

from trace_timing.recording.profiling.detach import (
    BEFORE_BLOCKS,
    CuptiAttachment,
    attachment_of_process,
)
from trace_timing.recording.profiling.launch_probe import (
    LaunchCosts,
    LaunchProbe,
    probe_of,
    quiet_ratio_of,
    ratio_of,
)

MODELS = ("random:llava-1b", "random:llava-olmoe", "molmoe")
TOKENS = {"molmoe": 5}
SAMPLES, CONTROLS = 4, 2


def main() -> None:
    """Measure the models, each time in a process of its own, and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--one-core", action="store_true", help="Measure launch costs on one core.")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.one_core)))
        return
    for name in options.models * options.times:
        command = [sys.executable, __file__, "--one", name]
        command += ["--one-core"] * options.one_core
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        found = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else "failed"
        print(json.dumps({"date": date.today().isoformat(), "model": name, "costs": found}))
        sys.stdout.flush()


class OneCoreProbe:
    """A launch probe whose blocks are made on one core, the quietest when the first are made."""

    def __init__(self, probe: LaunchProbe) -> None:
        self._probe = probe
        self._core: int | None = None
        self.quick_ns = probe.quick_ns

    def blocks(self, until: Callable[[LaunchCosts], bool]) -> LaunchCosts:
        """Costs of blocks on that core; the thread may go anywhere again afterwards."""
        anywhere = os.sched_getaffinity(0)
        try:
            if self._core is None:
                self._core, _ = quietest(anywhere)
            os.sched_setaffinity(0, {self._core})
            return self._probe.blocks(until)
        finally:
            os.sched_setaffinity(0, anywhere)


def measured(name: str, on_one_core: bool) -> dict[str, Any]:
    """`settings.detach` of one capture, and the ratio before it."""
    import trace_timing

    model, inputs = built(name)
    inputs["max_new_tokens"] = TOKENS.get(name, 12)
    device = next(model.parameters()).device
    attachment = attachment_of_process(device)
    probe: Any = probe_of(device)
    if on_one_core:
        probe = OneCoreProbe(probe)
    attachment.probe = probe
    never = never_profiled(model, inputs, probe)
    with tempfile.TemporaryDirectory() as folder:
        with trace_timing.capture(folder, model, control=CONTROLS) as session:
            for number in range(SAMPLES):
                session.generate(f"sample-{number}", **inputs)
        manifest = json.loads((Path(folder) / "manifest.json").read_text())
    return {
        "device": torch.cuda.get_device_name(),
        "never": never,
        "quiet_ratio": quiet_ratio(attachment),
        **manifest["settings"]["detach"],
        "blocks_ns": blocks_of(attachment),
    }


def quiet_ratio(attachment: CuptiAttachment) -> dict[str, float] | None:
    """Least launch costs after the first detach ÷ before any session; None without a detach."""
    now, then = attachment._detached, attachment._before
    return None if now is None or then is None else quiet_ratio_of(now, then).as_dict()


def blocks_of(attachment: CuptiAttachment) -> dict[str, list[list[int]]]:
    """Costs of launches and of the CPU op by block, in ns, to compare them by other means."""
    every = {
        "before": attachment._before,
        "attached": attachment._attached,
        "detached": attachment._detached,
    }
    return {
        kind: [
            costs.launch.round().astype(int).tolist(),
            costs.on_host.round().astype(int).tolist(),
        ]
        for kind, costs in every.items()
        if costs is not None
    }


def never_profiled(model: Any, inputs: dict[str, Any], probe: LaunchProbe) -> dict[str, Any]:
    """Launch cost after some runs ÷ before them, as `CuptiAttachment` measures it."""
    model.generate(**inputs)
    then = probe.blocks(lambda costs: len(costs) >= BEFORE_BLOCKS)
    for _ in range(1 + CONTROLS):
        model.generate(**inputs)
    now = probe.blocks(lambda costs: len(costs) >= BEFORE_BLOCKS)
    ratio = ratio_of(now, then)
    return {
        "ratio": None if ratio is None else ratio.as_dict(),
        "quiet": quiet_ratio_of(now, then).as_dict(),
    }


if __name__ == "__main__":
    main()
