"""Measure the cost of a long generation: trace, store, session, and analysis on two cores.

    python benchmarks/long_generation.py OUTPUT                    # all cases below, some 9 minutes
    python benchmarks/long_generation.py OUTPUT --case molmoe:512:32

A case is MODEL:TOKENS:STEPS, where STEPS are the decode steps to record, or `all`. Each runs in a
process of its own: two controls and one recorded run of one sample, after a warm-up of 16 tokens.
Prints one JSON object. With --device cpu and --tiny it shows that it runs at all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: With `all`, at a length that still fits: 512 tokens of MolmoE have 10 GB of JSON.
CASES = ("molmoe:512:32", "molmoe:32:all", "random:llava-1b:1024:32", "random:llava-1b:1024:all")
_MB = 1e6


def main() -> None:
    """Measure the cases, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--case", action="append", help="MODEL:TOKENS:STEPS; several times.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--one", choices=["record", "analyze"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one == "record":
        print(json.dumps(record(options)))
    elif options.one == "analyze":
        print(json.dumps(analyze(options.output)))
    else:
        print(json.dumps({case: measured(options, case) for case in options.case or CASES}))


def measured(options: argparse.Namespace, case: str) -> dict[str, Any]:
    """One case: recorded in one process, analysed in another on two cores."""
    folder = options.output / case.replace(":", "-")
    more = ["--tiny"] if options.tiny else []
    recorded = _in_process(folder, "record", "--case", case, "--device", options.device, *more)
    if "failed" in recorded:
        return recorded
    return {**recorded, "analyze": _in_process(folder, "analyze")}


def _in_process(folder: Path, part: str, *more: str) -> dict[str, Any]:
    command = [sys.executable, __file__, str(folder), "--one", part, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def record(options: argparse.Namespace) -> dict[str, Any]:
    """Two controls and a recorded run, and what they left."""
    import torch

    import trace_timing

    name, tokens, steps = options.case[0].rsplit(":", 2)
    model, inputs = _built(name, options.device, tiny=options.tiny)
    begun = time.monotonic()
    with trace_timing.capture(
        options.output,
        model,
        control=2,
        record_steps=steps if steps == "all" else int(steps),
        settings={"model": name},
    ) as session:
        session.generate("long", **inputs, max_new_tokens=int(tokens))
        told = session.told_steps()
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    found = {"device": device, "capture_s": round(time.monotonic() - begun, 1)}
    return {**found, **left_in(options.output), "told": told}


def left_in(folder: Path) -> dict[str, Any]:
    """Sizes of what a capture of one sample wrote, and what its session cost."""
    from trace_timing.recording.storage.directory import read_records

    records = read_records(folder / "runs.rank0.jsonl")
    (run,) = [r for r in records if r.role == "recorded"]
    lines = (folder / "runs.rank0.jsonl").read_bytes().splitlines()
    sizes = {p.suffix: p.stat().st_size / _MB for p in (folder / "traces").iterdir()}
    session = run.machine["session"]
    return {
        "tokens": run.tokens_out,
        "trace_gz_mb": round(sizes[".gz"], 2),
        "store_mb": round(sizes[".parquet"], 2),
        "bytes_a_control": max(len(line) for line in lines[:2]),
        "control_s": [r.control.total_ns / 1e9 for r in records if r.control],
        "recorded_s": session["generate_ns"] / 1e9,
        "session_ms": {k: session[f"{k}_ns"] / 1e6 for k in ("start", "stop", "store")},
        "steps": session["steps"],
        "lost_kernels": session["lost_kernels"],
        "lost_at_switches": session["lost_at_switches"],
    }


def _built(name: str, device: str, *, tiny: bool) -> tuple[Any, Mapping[str, Any]]:
    from PIL import Image

    from trace_timing.recording.model.loading import ModelChoice, load
    from trace_timing.recording.samples import Sample, prepare

    if name == "molmoe":
        from molmoe import MolmoE, inputs_for

        sizes = {"layers": 2, "width": 64, "experts": 4, "top": 2, "heads": 4} if tiny else {}
        model = MolmoE.on(device, **sizes)
        return model, inputs_for(model)
    loaded = load(ModelChoice(name="tiny-llava" if tiny else name, device=device))
    sample = Sample(
        id="long", images=(Image.new("RGB", (336, 336), "gray"),), prompt="what is this"
    )
    inputs = prepare(sample, loaded.processor, loaded.model).inputs
    return loaded.model, {**inputs, "do_sample": False, "eos_token_id": None}


def analyze(folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of `analyze` on two cores, from the JSON and from the store."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    found: dict[str, Any] = {}
    for ending in ("json.gz", "parquet"):
        output = folder / f"report-{ending}"
        kept = [p for p in (folder / "traces").iterdir() if not p.name.endswith(ending)]
        for path in kept:
            path.rename(path.with_name(path.name + ".aside"))
        try:
            found[ending] = _analyzed(folder, output)
        finally:
            for path in kept:
                path.with_name(path.name + ".aside").rename(path)
    return found


def _analyzed(folder: Path, output: Path) -> dict[str, Any]:
    from fresh import with_children

    command = [sys.executable, "-m", "trace_timing", "analyze", str(folder), "-o", str(output)]
    return with_children([*command, "--no-cache"], good=(0, 1))


if __name__ == "__main__":
    main()
