"""Measure the growth of a decode step with the cache, device-bound and host-bound.

    python benchmarks/cache_growth.py                   # two cases, each in a process of its own

Device-bound: 2,048 rows of the 1B model. Host-bound: one row. 256 tokens, four controls and one
recorded run each. Prints one JSON object: by case the slope of latency by position with its
interval, that of busy time, and the sentence that the report says of both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import trace_timing
from trace_timing.recording.model.presets import build
from trace_timing.report.terminal.statistics import step_growth

CASES = {"device_bound": 2048, "host_bound": 1}


def main() -> None:
    """Measure both cases, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, help="Of the device-bound case.")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--controls", type=int, default=4)
    parser.add_argument("--model", default="random:llava-1b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--one", choices=list(CASES), help="This case alone, in this process.")
    parser.add_argument("-o", "--output", type=Path, help="Keep captures there.")
    options = parser.parse_args()
    if options.one is None:
        print(json.dumps({name: in_its_own_process(name) for name in CASES}))
        return
    rows = options.rows or CASES[options.one]
    with tempfile.TemporaryDirectory() as folder:
        place = options.output or Path(folder)
        print(json.dumps(grown(place / options.one, options, rows)))


def in_its_own_process(name: str) -> Any:
    """Measure one case in a new process, with the options of this one.

    CUPTI stays in a process after a session, so one case would disturb the other's controls.
    """
    own = [] if name == "device_bound" else ["--rows", str(CASES[name])]
    command = [sys.executable, *sys.argv, *own, "--one", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return {"failed": done.returncode} if done.returncode else json.loads(done.stdout)


def grown(folder: Path, options: argparse.Namespace, rows: int) -> dict[str, Any]:
    """One case: its slopes, in µs a position."""
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    model = build(options.model, device=options.device, dtype=dtype)
    generator = torch.Generator(options.device).manual_seed(0)
    ids = torch.randint(10, 500, (rows, options.prompt), device=options.device, generator=generator)
    with trace_timing.capture(
        folder, model, control=options.controls, keep="json", settings={"model": options.model}
    ) as session:
        session.generate(
            f"{rows} rows",
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=options.tokens,
            do_sample=False,
            eos_token_id=None,
        )
    return growth_of(trace_timing.analyze(folder))


def growth_of(analysis: Any) -> dict[str, Any]:
    """The fits of a step against its position, and the report's sentence on them."""
    rows = [fit.row() for fit in analysis.statistics.scaling]
    steps = {
        row["time"]: row
        for row in rows
        if (row["of"], row["against"]) == ("decode step", "position")
    }
    sample = analysis.samples.iloc[0]
    return {
        **steps,
        "latency_source": sample["latency_source"],
        "T_decode_per_token_ms": sample["T_decode_per_token_ms"],
        "T_decode_per_token_busy_ms": sample["T_decode_per_token_busy_ms"],
        "recorded_steps": None
        if sample["recorded_steps"] != sample["recorded_steps"]
        else int(sample["recorded_steps"]),
        "sentence": step_growth(rows),
    }


if __name__ == "__main__":
    main()
