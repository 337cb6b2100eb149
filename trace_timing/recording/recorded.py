"""What a profiler session records of the calibration's loops: counts, and delays on its clock."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from trace_timing.costs import call_kind
from trace_timing.recording.probes import Probe
from trace_timing.recording.session import ProfilerSession

#: Iterations that are counted; of loops with fewer in a reading, all: theirs may differ.
_MOST_COUNTED = 50
_RUNG = "rung:"


@dataclass(frozen=True)
class Recorded:
    """What one session recorded of the probes, per iteration, and its clock-to-clock delays."""

    counts: Mapping[str, Mapping[str, float]]
    to_start: list[float]
    to_return: list[float]


class _Event(msgspec.Struct):
    ph: str = ""
    cat: str = ""
    name: str = ""
    ts: float = 0.0
    dur: float = 0.0
    args: dict[str, Any] = {}


class _File(msgspec.Struct):
    traceEvents: list[_Event]


def count_recorded(probes: Sequence[Probe], session: ProfilerSession) -> Recorded:
    """Profile each loop once, each in a range of its own, and count what the trace holds."""
    session.start()
    try:
        for probe in probes:
            torch.cuda.synchronize()
            with torch.profiler.record_function(_RUNG + probe.name):
                probe.loop(_counted(probe))
        torch.cuda.synchronize()
    finally:
        session.stop()
    return Recorded(*_count(_saved(session), {p.name: 1 / _counted(p) for p in probes}))


def _counted(probe: Probe) -> int:
    return min(probe.iterations, _MOST_COUNTED)


def count_kernels(session: ProfilerSession) -> int:
    """Kernels in what the session last recorded."""
    return sum(event.cat == "kernel" for event in _saved(session))


def _saved(session: ProfilerSession) -> list[_Event]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.json"
        session.save(path)
        data = path.read_bytes()
    return [e for e in msgspec.json.decode(data, type=_File).traceEvents if e.ph == "X"]


def _count(
    events: list[_Event], each: Mapping[str, float]
) -> tuple[dict[str, dict[str, float]], list[float], list[float]]:
    """Counts per iteration by rung; `each` is what one event of a rung adds to its count."""
    rungs = [e for e in events if e.cat == "user_annotation" and e.name.startswith(_RUNG)]
    counts: dict[str, dict[str, float]] = {e.name[len(_RUNG) :]: {} for e in rungs}
    begins = np.array([e.ts for e in rungs])
    ends = np.array([e.ts + e.dur for e in rungs])
    for event in events:
        if (term := _term(event)) is None:
            continue
        row = int(np.searchsorted(begins, event.ts, side="right")) - 1
        if row >= 0 and event.ts < ends[row]:
            rung = rungs[row].name[len(_RUNG) :]
            counts[rung][term] = counts[rung].get(term, 0.0) + each[rung]
    waiting = next(e for e in rungs if e.name == _RUNG + "wait")
    return counts, *_delays(events, waiting)


def _term(event: _Event) -> str | None:
    if event.cat in ("cuda_runtime", "cuda_driver"):
        return call_kind(event.name)
    if event.cat == "cpu_op":
        return "cpu_op"
    if event.cat == "user_annotation" and not event.name.startswith(_RUNG):
        return "range"
    return None


def _delays(events: list[_Event], within: _Event) -> tuple[list[float], list[float]]:
    """Launch begins → kernel starts and kernel ends → wait returns, ns, in the waiting rung."""
    inside = [e for e in events if within.ts <= e.ts < within.ts + within.dur]
    launches = {
        e.args.get("correlation"): e.ts
        for e in inside
        if e.cat.startswith("cuda_") and call_kind(e.name) == "launch"
    }
    returns = np.sort([e.ts + e.dur for e in inside if "StreamSynchronize" in e.name])
    to_start, to_return = [], []
    for event in events:
        begin = launches.get(event.args.get("correlation"))
        if event.cat != "kernel" or begin is None:
            continue
        to_start.append((event.ts - begin) * 1e3)
        after = np.searchsorted(returns, event.ts + event.dur)
        if after < len(returns):
            to_return.append(float(returns[after] - event.ts - event.dur) * 1e3)
    return to_start, to_return
