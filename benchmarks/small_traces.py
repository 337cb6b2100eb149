"""Recorded traces cut down to some hundred events: what the fuzzer mutates."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.trace.merged_ranks import labelled, offset, rank_events

Event = dict[str, Any]

#: Of one device, of a device that is kept busy, of graphs, of several threads and devices.
SOURCES = (
    "sample_traces/traces/short-f9b0078b.r0.k0.json.gz",
    "tests/data/device_bound/traces/device-bound-cdf8e2d6.r0.k0.json.gz",
    "tests/data/why/graphs/traces/graphs-1c8949fa.r0.k0.json.gz",
    "tests/data/why/devices/traces/devices-ade15a12.r0.k0.json.gz",
)
LAUNCHES = 4
OPS = ("kernel", "gpu_memcpy")
#: A device that looks idle for longer, for what was cut out, gets a warning.
LONGEST_IDLE_US = 90_000
_RANGES = 9


@cache
def small_traces(repository: Path) -> list[str]:
    """Text of each, laid out as Kineto does; and some written by hand."""
    recorded = [laid_out(*cut(repository / source)) for source in SOURCES]
    hand = [by_hand(runs=2), by_hand(stages=False), by_hand(generate=False), *merged()]
    return [*recorded, *(laid_out({}, events) for events in hand)]


def merged() -> list[list[Event]]:
    """Two ranks in one file, distinguished by labels, by offsets, or by correlation ids alone."""
    first, second = rank_events(), rank_events(pid=4243, shift_us=7)
    later = rank_events(pid=4243, shift_us=7, first_id=901, device=1)
    by_label = labelled(first, "[TP00]") + labelled(second, "[TP01]")
    return [by_label, offset(first, 0) + offset(second, 1), first + later]


def laid_out(header: dict[str, Any], events: list[Event]) -> str:
    """A document as Kineto writes it, an event a line."""
    before = "".join(f'  "{key}": {json.dumps(value)},\n' for key, value in header.items())
    rows = ",\n  ".join(map(json.dumps, events))
    return "{\n" + before + '  "traceEvents": [\n  ' + rows + '\n  ],\n  "traceName": "a.json"\n}'


def cut(path: Path) -> tuple[dict[str, Any], list[Event]]:
    """Of a recorded trace the header and: generate, some of its ranges, some launches in each."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    events: list[Event] = document["traceEvents"]
    ranges = _of(events, "user_annotation")
    outer = [r for r in ranges if r["name"] == "generate"][:1]
    inner = [r for r in ranges if r["name"] != "generate" and any(_in(r, o) for o in outer)]
    kept = [*outer, *inner[:_RANGES]]
    calls = [c for c in _of(events, "cuda_runtime") if c["args"].get("correlation")]
    ops = [e for e in events if e.get("ph") == "X" and e.get("cat") in OPS]
    by_id = {op["args"]["correlation"]: op for op in ops}
    for item in kept[1:]:
        own = [c for c in calls if _in(c, item)]
        kept += (pairs := [c for c in own if c["args"]["correlation"] in by_id][:LAUNCHES])
        kept += [by_id[c["args"]["correlation"]] for c in pairs]
        kept += [c for c in own if "Synchronize" in c["name"]][:1]
    by_call = {c["args"]["correlation"]: c for c in calls if any(_in(c, r) for r in kept[:1])}
    linked = [op for op in ops if op["args"]["correlation"] in by_call]
    more = _between([e for e in kept if e["cat"] in OPS], linked)
    kept += [event for op in more for event in (by_call[op["args"]["correlation"]], op)]
    for category in ("cpu_op", "python_function", "overhead", "ac2g"):
        kept += [e for e in events if e.get("cat") == category][:4]
    kept += [e for e in events if e.get("ph") == "M"][:3]
    distinct = list({id(event): event for event in kept}.values())
    header = {k: v for k, v in document.items() if k in ("schemaVersion", "baseTimeNanoseconds")}
    return header, distinct


def _between(kept: list[Event], ops: list[Event]) -> list[Event]:
    """As few ops as leave the device idle for no longer than LONGEST_IDLE_US between those kept."""
    kept = sorted(kept, key=_begin)
    found, end = [], _end(kept[0])
    for item in kept[1:]:
        while _begin(item) - end > LONGEST_IDLE_US:
            near = [op for op in ops if end <= _begin(op) <= end + LONGEST_IDLE_US]
            if not near:
                break
            found.append(max(near, key=_end))
            end = _end(found[-1])
        end = max(end, _end(item))
    return found


def _begin(event: Event) -> float:
    return float(event["ts"])


def _end(event: Event) -> float:
    return float(event["ts"] + event["dur"])


def _of(events: list[Event], category: str) -> list[Event]:
    return [e for e in events if e.get("ph") == "X" and e.get("cat") == category]


def _in(event: Event, outer: Event) -> bool:
    same = event["tid"] == outer["tid"] and event["pid"] == outer["pid"]
    return bool(same and outer["ts"] <= event["ts"] < outer["ts"] + outer["dur"])


def by_hand(*, runs: int = 1, stages: bool = True, generate: bool = True) -> list[Event]:
    """Runs of a prefill and two steps on two streams, the second launched by a helper thread."""
    events: list[Event] = []
    for run in range(runs):
        begin = 1000.0 + 200 * run
        if generate:
            events.append(_event("user_annotation", "generate", begin, 150.125))
        for number, name in enumerate(["prefill", "decode[1]", "decode[2]"] if stages else []):
            events.append(_event("user_annotation", name, begin + 10 + 40 * number, 35.5))
        for number in range(9):
            at, which = begin + 12.5 + 13 * number, 100 * run + number + 1
            helper = {"tid": 78} if number == 4 else {}
            launch = _event("cuda_runtime", "cudaLaunchKernel", at, 3.001, correlation=which)
            events.append({**launch, **helper})
            args = {"correlation": which, "device": 0, "stream": 7 + number % 2}
            op = _event("kernel", f"gemm_{number % 3}", at + 5 + 2 * number, 9.75, **args)
            events.append({**op, "pid": 0, "tid": 7})
    events.append(_event("python_function", "model.py(3): forward", 1001.0, 90.0))
    events.append(_event("cpu_op", "aten::mm", 1012.0, 8.0))
    return events


def _event(category: str, name: str, ts: float, dur: float, **args: int) -> Event:
    place = {"pid": 77, "tid": 77, "ts": ts, "dur": dur, "args": args}
    return {"ph": "X", "cat": category, "name": name, **place}
