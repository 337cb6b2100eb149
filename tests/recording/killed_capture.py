"""Captures into DIRECTORY, killed by SIGKILL again and again, then to the end. Run by its test.

One process loads the model and forks a child for each attempt, so that a kill at a random instant
costs no start of the interpreter. The first line out is the seconds that a whole capture takes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from PIL import Image

from trace_timing.api.capture.capture import capture
from trace_timing.api.capture.sample_loop import SampleLoop, capture_samples
from trace_timing.recording.model.loading import ModelChoice, load
from trace_timing.recording.samples import Sample

SAMPLES = [
    Sample(id=f"s{i}", images=(Image.new("RGB", (8, 8)),), prompt="x", max_new_tokens=2)
    for i in range(12)
]


def child(directory: Path, loaded: object) -> int:
    """Fork a capture; returns the child's id."""
    pid = os.fork()
    if pid:
        return pid
    resume = (directory / "runs.rank0.jsonl").exists()
    options = {"order": "controls-first", "warm_up": False, "resume": resume}
    with capture(directory, loaded.model, **options) as session:
        for _ in capture_samples(session, SAMPLES, loaded.model, loaded.processor, SampleLoop()):
            pass
    os._exit(0)


def main() -> None:
    """Kill `kills` captures, then let one end."""
    directory, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    loaded = load(ModelChoice(name="tiny-llava", device="cpu"))
    begin = time.monotonic()
    _, status = os.waitpid(child(directory / "whole", loaded), 0)
    whole = time.monotonic() - begin
    print(f"{whole:.3f} {status}")
    chance = random.Random(seed)
    killed = 0
    while killed < kills:
        pid = child(directory / "killed", loaded)
        time.sleep(chance.uniform(0.05, 0.6) * whole)
        os.kill(pid, signal.SIGKILL)
        if os.waitpid(pid, 0)[1] == signal.SIGKILL:
            killed += 1
        else:  # it came to its end first: there is nothing left to kill in that directory
            shutil.rmtree(directory / "killed")
        print(killed, flush=True)
    print(os.waitpid(child(directory / "killed", loaded), 0)[1])


if __name__ == "__main__":
    main()
