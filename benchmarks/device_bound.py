"""Record a device-bound trace, by a batch so large that the host waits.

    python benchmarks/device_bound.py OUTPUT            # an H200: 768 rows of 1,000 tokens, 4 new

Eager decoding of a small batch is host-bound, so its windows are the host's ranges. Here they are
the device's, and the host runs ahead, as tests of attribution and tiling need.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import trace_timing
from trace_timing.recording.model.presets import build


def main() -> None:
    """Record one sample with one control."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--batch", type=int, default=768)
    parser.add_argument("--prompt", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=4)
    options = parser.parse_args()
    model = build("random:llava-1b", device="cuda", dtype=torch.bfloat16)
    generator = torch.Generator("cuda").manual_seed(0)
    ids = torch.randint(
        10, 30_000, (options.batch, options.prompt), device="cuda", generator=generator
    )
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    settings = {"model": "random:llava-1b", "dtype": "bfloat16", "batch": options.batch}
    with trace_timing.capture(options.output, model, keep="json", settings=settings) as session:
        model.generate(**inputs, max_new_tokens=2, do_sample=False)
        session.generate(
            "device-bound",
            meta={"batch": options.batch},
            **inputs,
            max_new_tokens=options.tokens,
            min_new_tokens=options.tokens,
            do_sample=False,
        )


if __name__ == "__main__":
    main()
