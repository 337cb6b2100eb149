"""Measure a function in fresh processes: seconds, peak memory, medians."""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def measured(prepare: Callable[[], Callable[[], object]]) -> dict[str, float]:
    """Seconds and peak memory of one call, imports and preparation excluded."""
    call = prepare()
    before = peak_kib()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    after = peak_kib()
    return {
        "seconds": seconds,
        "peak_mb": after / 1024,
        "over_imports_mb": (after - before) / 1024,
    }


def peak_kib() -> int:
    """Peak resident memory of this program alone, in KiB.

    getrusage's ru_maxrss outlives exec: a child of a large parent begins with the parent's peak.
    VmHWM belongs to the address space and begins anew (proc(5)); elsewhere ru_maxrss must do.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1])


def in_fresh_process(module: str, *args: str, cores: str | None = None) -> dict[str, Any]:
    """Run `python -m module --one …`, which prints one JSON object; its failure is a result too."""
    command = [sys.executable, "-m", module, "--one", *args]
    if cores is not None:
        command = ["taskset", "-c", cores, *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"failed": lines[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the figures of several runs, with the least and most of the seconds."""
    failed = [run for run in runs if "failed" in run]
    if failed:
        return failed[0]
    seconds = [run["seconds"] for run in runs]
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {**middle, "least_s": min(seconds), "most_s": max(seconds), "runs": len(runs)}


def machine() -> dict[str, Any]:
    """What the figures were taken on, without its name."""
    import os

    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = models[0].split(":", 1)[1].strip() if models else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def save(name: str, results: dict[str, Any]) -> Path:
    """Write dated results beside the older ones."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{time.strftime('%Y-%m-%d')}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")
    return path
