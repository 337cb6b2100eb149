"""Compare one toggled profiler session with one session per sample: cost and lost ops.

Both put the same number of runs of a tiny LLaVA through the profiler with an unprofiled run after
each, so that what a session leaves behind shows in its neighbour. What a toggled session records
depends on what is toggled: each choice is tried on a few runs first, and its events are counted.

    python benchmarks/session_modes.py                  # 200 samples a mode

Prints one JSON object: by mode the host time to begin, end and store a sample, the time of the
unprofiled runs early and late, the kernels lost, and the growth of resident memory.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import msgspec
import torch
from PIL import Image
from torch._C._autograd import _toggle_collection_dynamic
from torch.profiler import ProfilerActivity

from trace_timing.recording import environment
from trace_timing.recording.hooks.attach import attach
from trace_timing.recording.model.loading import ModelChoice, load
from trace_timing.recording.model.locate import resolve
from trace_timing.recording.profiling.machine_state import resident_bytes
from trace_timing.recording.runs.profiler import ScopedSession, timed
from trace_timing.recording.runs.profiler_sink import ProfilerSink
from trace_timing.recording.runs.runner import SinkSlot
from trace_timing.recording.samples import Sample, prepare
from trace_timing.recording.storage import kineto_export

#: Runs that a choice of what to toggle is tried on.
TRIED = 5
TOGGLED = {
    "device": {ProfilerActivity.CUDA},
    "host and device": {ProfilerActivity.CPU, ProfilerActivity.CUDA},
}


@dataclass
class Costs:
    """Nanoseconds of each sample, and what the traces lacked."""

    begin_ns: list[int] = field(default_factory=list)
    end_ns: list[int] = field(default_factory=list)
    store_ns: list[int] = field(default_factory=list)
    profiled_ns: list[int] = field(default_factory=list)
    plain_ns: list[int] = field(default_factory=list)
    launches: int = 0
    lost: int = 0
    #: Events of the traces by category.
    events: Counter[str] = field(default_factory=Counter)


class _Event(msgspec.Struct):
    cat: str = "none"


class _File(msgspec.Struct):
    traceEvents: list[_Event]


def main() -> None:
    """Measure both ways and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=4)
    options = parser.parse_args()
    loaded = load(ModelChoice(name="tiny-llava"))
    sample = Sample(id="x", images=(Image.new("RGB", (56, 56), "gray"),), prompt="what is this")
    inputs = prepare(sample, loaded.processor, loaded.model).inputs

    def run() -> Any:
        return loaded.model.generate(**inputs, max_new_tokens=options.tokens)

    slot = SinkSlot()
    figures = {}
    with attach(resolve(loaded.model, None), slot):
        for _ in range(5):
            finished(run)
        trials = {what: dict(toggled(TRIED, run, slot, what).events) for what in TOGGLED}
        best = max(trials, key=lambda what: trials[what].get("kernel", 0))
        for name, mode in {
            "per_sample": per_sample,
            f"toggled {best}": lambda *given: toggled(*given, best),
        }.items():
            before = resident_bytes() or 0
            costs = mode(options.samples, run, slot)
            grown = (resident_bytes() or 0) - before
            figures[name] = summary(costs) | {"rss_growth_bytes": grown}
    known = environment.describe()
    told = {"date": date.today().isoformat(), "environment": known, "modes": figures}
    print(json.dumps(told | {f"events_of_{TRIED}_runs_by_what_is_toggled": trials}))


def per_sample(samples: int, run: Callable[[], Any], slot: SinkSlot) -> Costs:
    """A session of its own for each sample, stored before the next."""
    costs = Costs()
    session = ScopedSession("ranges")
    for _ in range(samples):
        costs.begin_ns.append(timed(session.start))
        costs.profiled_ns.append(recorded(run, slot))
        costs.end_ns.append(timed(session.stop))
        costs.store_ns.append(timed(lambda: account(session, costs)))
        costs.plain_ns.append(finished(run))
    return costs


def toggled(samples: int, run: Callable[[], Any], slot: SinkSlot, what: str) -> Costs:
    """One session for all, collecting only around each sample, stored at the end."""
    costs = Costs()
    session = ScopedSession("ranges")
    activities = TOGGLED[what]
    session.start()
    _toggle_collection_dynamic(False, activities)
    for _ in range(samples):
        costs.begin_ns.append(timed(lambda: _toggle_collection_dynamic(True, activities)))
        costs.profiled_ns.append(recorded(run, slot))
        costs.end_ns.append(timed(lambda: _toggle_collection_dynamic(False, activities)))
        costs.plain_ns.append(finished(run))
    session.stop()
    costs.store_ns.append(timed(lambda: account(session, costs)))
    return costs


def account(session: ScopedSession, costs: Costs) -> None:
    """Save a session's trace and count what it lacks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        session.save(path)
        text = path.read_bytes()
    losses = kineto_export.inspect(text, name="x")
    costs.events.update(event.cat for event in msgspec.json.decode(text, type=_File).traceEvents)
    costs.launches += losses.launches
    costs.lost += losses.lost


def recorded(run: Callable[[], Any], slot: SinkSlot) -> int:
    """A run with its ranges, in ns."""
    slot.sink = ProfilerSink()
    total = finished(run)
    slot.sink = None
    return total


def finished(run: Callable[[], Any]) -> int:
    """Host time of a run until the device is done, in ns."""
    begin = perf_counter_ns()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter_ns() - begin


def summary(costs: Costs) -> dict[str, Any]:
    """Medians in ms; of the unprofiled runs the first and the last quarter."""
    quarter = max(len(costs.plain_ns) // 4, 1)
    return {
        "samples": len(costs.plain_ns),
        "begin_ms": ms(costs.begin_ns),
        "begin_max_ms": round(max(costs.begin_ns) / 1e6, 3),
        "end_ms": ms(costs.end_ns),
        "store_ms_per_sample": round(sum(costs.store_ns) / len(costs.plain_ns) / 1e6, 3),
        "profiled_ms": ms(costs.profiled_ns),
        "unprofiled_first_quarter_ms": ms(costs.plain_ns[:quarter]),
        "unprofiled_last_quarter_ms": ms(costs.plain_ns[-quarter:]),
        "kernel_launches": costs.launches,
        "kernels_lost": costs.lost,
        "events": dict(costs.events),
    }


def ms(times_ns: list[int]) -> float:
    """Median in ms."""
    return round(median(times_ns) / 1e6, 3)


if __name__ == "__main__":
    main()
