"""Measure in fresh processes: seconds, processor seconds, peak memory, medians, within a budget."""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

#: Where results go, beside the older ones.
RESULTS = Path(__file__).parent / "results"
#: One process may not take longer than this.
TIMEOUT_S = 900
_POLL_S = 0.05


class Budget:
    """Time limit of a whole benchmark; what does not fit is left out and reported."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    @property
    def spent(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() > self._end


def measured(prepare: Callable[[], Callable[[], object]]) -> dict[str, float]:
    """Seconds and peak memory of one call, imports and preparation excluded."""
    call = prepare()
    before = peak_kib()
    start, processor = time.perf_counter(), time.process_time()
    call()
    seconds, processor_s = time.perf_counter() - start, time.process_time() - processor
    after = peak_kib()
    return {
        "seconds": seconds,
        "processor_s": processor_s,
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
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {TIMEOUT_S} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"failed": lines[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def with_children(command: Sequence[str], *, good: Sequence[int] = (0,)) -> dict[str, Any]:
    """Seconds of a command, and the peak of the memory that it and its children hold together.

    Memory is the proportional set size (smaps_rollup, proc(5)), so that pages that several
    processes share count once; looked at every 50 ms.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    said: list[bytes] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda s: said.extend(s), args=(process.stderr,))
    reader.start()
    while process.poll() is None:
        peak = max(peak, sum(_pss_kib(pid) for pid in _family(process.pid)))
        time.sleep(_POLL_S)
    seconds = time.perf_counter() - start
    reader.join()
    if process.returncode not in good:
        return {"failed": b"".join(said[-3:]).decode("utf-8", "replace").strip()}
    return {"seconds": seconds, "all_processes_mb": peak / 1024}


def _family(pid: int) -> list[int]:
    try:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(member for child in told for member in _family(int(child)))]


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) for x in lines if x.startswith("Pss:")), 0)


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the figures of several runs, with the least and most of the seconds."""
    failed = [run for run in runs if "failed" in run]
    if failed or not runs:
        return failed[0] if failed else {"failed": "left out: the budget was spent"}
    seconds = [run["seconds"] for run in runs]
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {**middle, "least_s": min(seconds), "most_s": max(seconds), "runs": len(runs)}


def repeated(measure: Callable[[], dict[str, Any]], runs: int, budget: Budget) -> dict[str, Any]:
    """Medians of so many measurements, fewer where the budget ends."""
    done: list[dict[str, Any]] = []
    while len(done) < runs and not budget.spent and not (done and "failed" in done[-1]):
        done.append(measure())
    return medians(done)


def machine() -> dict[str, Any]:
    """The machine that was measured, without its name."""
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


def save(name: str, results: dict[str, Any], folder: Path) -> Path:
    """Write dated results beside the older ones."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}-{time.strftime('%Y-%m-%d')}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    return path
