"""Growth of a decode step with the cache, where the device is the slow side and where the host is.

    python benchmarks/cache_growth.py                   # two minutes and a half on an H200

Device-bound: 512 rows of the 1B model. Host-bound: one row. 256 tokens, five controls and one
recorded run each. Prints one JSON object: by case the slope of latency by position with its
interval, that of busy time, and the sentence that the report says of both.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import trace_timing
from trace_timing.recording.model.presets import build
from trace_timing.report.terminal.statistics import step_growth

CASES = {"device_bound": 512, "host_bound": 1}


def main() -> None:
    """Measure both cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=CASES["device_bound"])
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--controls", type=int, default=5)
    parser.add_argument("--model", default="random:llava-1b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("-o", "--output", type=Path, help="Keep captures and reports there.")
    options = parser.parse_args()
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    model = build(options.model, device=options.device, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        place = options.output or Path(folder)
        found = {
            name: grown(model, place / name, options, rows)
            for name, rows in {**CASES, "device_bound": options.rows}.items()
        }
    print(json.dumps(found))


def grown(model: Any, folder: Path, options: argparse.Namespace, rows: int) -> dict[str, Any]:
    """One case: its slopes, in µs a position."""
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
    return told(trace_timing.analyze(folder))


def told(analysis: Any) -> dict[str, Any]:
    """The rows of a step against its position, and the sentence."""
    rows = [fit.row() for fit in analysis.statistics.scaling]
    steps = {
        row["time"]: row
        for row in rows
        if (row["of"], row["against"]) == ("decode step", "position")
    }
    sample = analysis.samples.iloc[0]
    return {
        **steps,
        "T_decode_per_token_ms": sample["T_decode_per_token_ms"],
        "T_decode_per_token_busy_ms": sample["T_decode_per_token_busy_ms"],
        "recorded_steps": None
        if sample["recorded_steps"] != sample["recorded_steps"]
        else int(sample["recorded_steps"]),
        "sentence": step_growth(rows),
    }


if __name__ == "__main__":
    main()
