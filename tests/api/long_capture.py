"""A capture of one long generation, written without a GPU: traces as Kineto has them, by a plan."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trace_timing.recording.runs.step_plan import StepPlan
from trace_timing.records.encoding import encode
from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import ControlTimes, RunRecord, run_name
from trace_timing.records.segments import ControlSegment

#: Host time of a step in µs, 9 of 10 of it decode; of the prefill; ops of each, 4 µs apart.
STEP_US, PREFILL_US, OPS = 1000.0, 5000.0, 20
#: What a step's GPU work grows by from one position to the next, in µs, from 200 on.
BUSY_US, GROWTH_US = 200.0, 0.05


class Events:
    """Kineto events of one thread and one stream."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.correlation = 0

    def range(self, name: str, begin: float, end: float) -> None:
        """A host range, in µs."""
        self._add("user_annotation", name, begin, end, 1, {})

    def ops(self, begin: float, busy_us: float) -> None:
        """OPS kernels and their launches, busy for so long together."""
        each = busy_us / OPS
        for number in range(OPS):
            self.correlation += 1
            at = begin + number * (each + 4)
            args = {"correlation": self.correlation}
            self._add("cuda_runtime", "cudaLaunchKernel", at, at + 1, 1, args)
            where = {"device": 0, "stream": 7}
            self._add("kernel", f"kernel_{number}", at + 3, at + 3 + each, 7, args | where)

    def _add(
        self, cat: str, name: str, begin: float, end: float, tid: int, args: dict[str, Any]
    ) -> None:
        row = {"ph": "X", "cat": cat, "name": name, "pid": 0 if cat == "kernel" else 1, "tid": tid}
        self.rows.append({**row, "ts": round(begin, 3), "dur": round(end - begin, 3), "args": args})


def events_of(steps: int, plan: StepPlan | None) -> list[dict[str, Any]]:
    """A run of so many decode steps; with a plan, ops of its recorded and guard steps alone."""
    made = Events()
    made.range("prefill", 100.0, PREFILL_US)
    made.ops(200.0, 1000.0)
    made.range("sampling[0]", PREFILL_US, PREFILL_US + 100)
    at, gap = PREFILL_US + 100, None
    for step in range(1, steps + 1):
        state = "recorded" if plan is None else plan.state(step)
        if state == "off":
            gap = at if gap is None else gap
        elif gap is not None:
            made.range("recording_off", gap, at)
            made.range("recording_guard", at, at + STEP_US)
            gap = None
        made.range(f"decode[{step}]", at, at + 0.9 * STEP_US)
        made.range(f"sampling[{step}]", at + 0.9 * STEP_US, at + STEP_US)
        if state != "off":
            made.ops(at + 10, BUSY_US + GROWTH_US * step)
        at += STEP_US
    if gap is not None:
        made.range("recording_off", gap, at)
    made.range("generate", 0.0, at + 10)
    return made.rows


def control_of(steps: int, seed: int, index: int, growth_us: float) -> ControlTimes:
    """A control: each step a little shorter than recorded, noisy, growing by so much."""
    draw = np.random.default_rng((seed, index))
    parts = [ControlSegment(stage="prefill", step=None, duration_ns=4_000_000)]
    for step in range(1, steps + 1):
        us = 0.7 * STEP_US + growth_us * step + draw.normal(0, 5)
        parts.append(ControlSegment(stage="decode", step=step, duration_ns=round(us * 1000)))
        parts.append(ControlSegment(stage="sampling", step=step, duration_ns=50_000))
    total = sum(part.duration_ns for part in parts)
    return ControlTimes(total_ns=total, segments=tuple(parts), index=index)


def write_capture(
    folder: Path,
    plans: Sequence[tuple[str, int, StepPlan | None]],
    *,
    controls: int = 4,
    growth_us: float = 0.0,
) -> Path:
    """A capture directory with a sample for each of (id, steps, plan)."""
    (folder / "traces").mkdir(parents=True)
    (folder / "manifest.json").write_bytes(encode(Manifest(settings={"order": "controls-first"})))
    records = []
    for seed, (sample_id, steps, plan) in enumerate(plans):
        more: dict[str, Any] = {"sample_id": sample_id, "repeat": 0, "tokens_in": 100}
        more |= {"tokens_out": steps + 1}
        records += [
            RunRecord(role="control", control=control_of(steps, seed, i, growth_us), **more)
            for i in range(controls)
        ]
        name = run_name(sample_id, 0, 0)
        text = json.dumps({"schemaVersion": 1, "traceEvents": events_of(steps, plan)}).encode()
        path = folder / "traces" / f"{name}.json.gz"
        path.write_bytes(gzip.compress(text, 3, mtime=0))
        sums = {"json.gz": _sha256(path)}
        records.append(RunRecord(role="recorded", trace=name, sha256=sums, **more))
    lines = b"".join(encode(record) + b"\n" for record in records)
    (folder / "runs.rank0.jsonl").write_bytes(lines)
    return folder


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()
