"""Check that a long capture's memory does not grow, and measure the run after storing a trace.

    python benchmarks/flat_memory.py                    # 2,000 samples of the tiny model

Prints one JSON object: resident memory at each tenth of the way, and medians of the controls
whose neighbour before them was a recorded run, with an unmeasured run between, against others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from statistics import median

from PIL import Image

from trace_timing.api.capture.capture import capture
from trace_timing.api.capture.sample_loop import SampleLoop, capture_samples
from trace_timing.recording.model.loading import ModelChoice, load
from trace_timing.recording.profiling.machine_state import resident_bytes
from trace_timing.recording.samples import Sample
from trace_timing.recording.storage.directory import read_records


def main() -> None:
    """Capture the number of samples asked for, and print memory and medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=2)
    parser.add_argument("--model", default="tiny-llava")
    options = parser.parse_args()
    loaded = load(ModelChoice(name=options.model))
    image = Image.new("RGB", (56, 56), "gray")
    samples = [Sample(id=f"s{i}", images=(image,), prompt="what") for i in range(options.samples)]
    with tempfile.TemporaryDirectory() as folder:
        with capture(folder, loaded.model, keep="first:5") as session:
            loop = SampleLoop(max_new_tokens=options.tokens)
            steps = capture_samples(session, samples, loaded.model, loaded.processor, loop)
            tenth = max(options.samples // 10, 1)
            held = [(resident_bytes() or 0) >> 20 for step in steps if step.done % tenth == 0]
        after = disturbance(Path(folder))
    print(json.dumps({"samples": options.samples, "rss_mib_by_tenth": held} | after))


def disturbance(folder: Path) -> dict[str, float]:
    """Median total of controls after a recorded run (an unmeasured one between) or a control."""
    records = read_records(folder / "runs.rank0.jsonl")
    totals: dict[str, list[int]] = {"recorded": [], "control": []}
    for before, record in itertools.pairwise(records):
        if record.control is not None and not record.control.bare:
            totals[before.role].append(record.control.total_ns)
    return {
        "control_after_recorded_ms": round(median(totals["recorded"]) / 1e6, 3),
        "control_after_control_ms": round(median(totals["control"]) / 1e6, 3),
    }


if __name__ == "__main__":
    main()
