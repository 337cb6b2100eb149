"""What recording costs the recorded: both profile modes against controls, on this GPU.

Interleaved: each round runs a control, a `ranges` and a `full` run of the same call, in rotating
order. Totals of all three are taken by the same clock (host, synchronised at both ends); decode
steps by the control's events and by the profiled runs' ranges.

    python benchmarks/capture_modes.py                  # 1B and OLMoE, 10 rounds each
    python benchmarks/capture_modes.py --models random:llava-8b --rounds 12

Prints one JSON object: by model and mode the medians and the ratio of medians to the control's.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import torch
from PIL import Image

from trace_timing.recording import environment, ranges
from trace_timing.recording.control import ControlSink, HostMarks, StreamMarks
from trace_timing.recording.inputs import Sample, prepare
from trace_timing.recording.models import ModelChoice, load
from trace_timing.recording.resolver import resolve
from trace_timing.recording.runner import SinkSlot
from trace_timing.recording.session import open_session
from trace_timing.recording.sinks import ProfilerSink
from trace_timing.recording.warmup import warm_up

MODES = ("control", "ranges", "full")


@dataclass
class Measured:
    """Of one model: by mode, totals of the runs and lengths of all their decode steps."""

    totals_ns: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    steps_ns: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def main() -> None:
    """Measure what the command line names and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["random:llava-1b", "random:llava-olmoe"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=12)
    options = parser.parse_args()
    figures = {}
    for name in options.models:
        figures[name] = measure(name, options.rounds, options.tokens)
        gc.collect()  # a model holds itself in cycles, and the next one needs its memory
    known = environment.describe()
    print(json.dumps({"date": date.today().isoformat(), "environment": known, "models": figures}))


def measure(name: str, rounds: int, tokens: int) -> dict[str, Any]:
    """Rounds of control, ranges and full on one model."""
    loaded = load(ModelChoice(name=name))
    sample = Sample(id="x", images=(Image.new("RGB", (336, 336), "gray"),), prompt="what is this")
    inputs = prepare(sample, loaded.processor, loaded.model).inputs
    model = loaded.model

    def run() -> Any:
        return model.generate(**inputs, max_new_tokens=tokens)

    slot = SinkSlot()
    found = Measured()
    with ranges.attach(resolve(model, None), slot):
        warm_up(lambda: timed(run))
        for mode in MODES[1:]:
            one_run(mode, run, slot, Measured())
        for number in range(rounds):
            for place in range(len(MODES)):
                one_run(MODES[(number + place) % len(MODES)], run, slot, found)
    return summary(found, rounds)


def one_run(mode: str, run: Any, slot: SinkSlot, found: Measured) -> None:
    """One run in a mode, its total and its decode steps added to what was found."""
    if mode == "control":
        on_gpu = torch.cuda.is_available()
        sink = ControlSink(StreamMarks("cuda:0", []) if on_gpu else HostMarks())
        slot.sink = sink
        found.totals_ns[mode].append(timed(run))
        slot.sink = None
        segments = sink.times().segments
        found.steps_ns[mode] += [s.duration_ns for s in segments if s.stage == "decode"]
        return
    session, _ = open_session("ranges" if mode == "ranges" else "full")
    session.start()
    slot.sink = ProfilerSink()
    found.totals_ns[mode].append(timed(run))
    slot.sink = None
    session.stop()
    found.steps_ns[mode] += recorded_steps(session)


def recorded_steps(session: Any) -> list[int]:
    """Lengths of the decode ranges in what the session recorded, in ns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        session.save(path)
        events = json.loads(path.read_bytes())["traceEvents"]
    return [
        round(event["dur"] * 1000)
        for event in events
        if event.get("cat") == "user_annotation" and event["name"].startswith("decode[")
    ]


def timed(run: Any) -> int:
    """Host time of a run with the device idle at both ends, in ns."""
    synchronize()
    begin = perf_counter_ns()
    run()
    synchronize()
    return perf_counter_ns() - begin


def synchronize() -> None:
    """Wait for the device, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def summary(found: Measured, rounds: int) -> dict[str, Any]:
    """Medians in ms, their ratios to the control's, and the quartiles of the rounds' ratios."""
    base = found.totals_ns["control"]
    table: dict[str, Any] = {"rounds": rounds}
    for mode in MODES:
        totals, steps = found.totals_ns[mode], found.steps_ns[mode]
        ratios = sorted(total / control for total, control in zip(totals, base, strict=True))
        table[mode] = {
            "total_ms": round(median(totals) / 1e6, 3),
            "decode_step_ms": round(median(steps) / 1e6, 3),
            "total_ratio": round(median(totals) / median(base), 4),
            "decode_step_ratio": round(median(steps) / median(found.steps_ns["control"]), 4),
            "round_ratio_quartiles": [round(ratios[len(ratios) * q // 4], 4) for q in (1, 3)],
        }
    return table


if __name__ == "__main__":
    main()
