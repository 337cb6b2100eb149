"""Traces of one rank each, and what tools make of several in one file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]


def rank_events(
    *,
    pid: int = 4242,
    device: int = 0,
    shift_us: float = 0.0,
    first_id: int = 101,
    launching_thread: int | None = None,
    numbered: bool = True,
) -> list[Event]:
    """One generate() of 129 µs: prefill with 3 ops (68 µs, 60 busy), 3 steps of 2 ops, 18 µs each.

    Args:
        launching_thread: tid of the calls, where it is not the ranges' own.
        numbered: decode[1] … decode[3]; else three ranges `decode`.
    """
    events: list[Event] = []
    tid = launching_thread or pid
    start = 5_000_000.0 + shift_us

    def add(category: str, name: str, at: float, dur: float, **more: Any) -> None:
        events.append(
            {"ph": "X", "cat": category, "name": name, "ts": start + at, "dur": dur, **more}
        )

    ends = 10.0
    stages = [("prefill", 2.0, 15.5, 3, 20.0, "gemm")]
    stages += [
        (f"decode[{n}]" if numbered else "decode", 7.0 + 11 * n, 10.5, 2, 9.0, "gemv")
        for n in (1, 2, 3)
    ]
    number = first_id
    for name, at, dur, ops, took, kernel in stages:
        for op in range(ops):
            call = {"pid": pid, "tid": tid, "args": {"correlation": number}}
            add("cuda_runtime", "cudaLaunchKernel", at + 1 + 5 * op, 4.0, **call)
            args = {"correlation": number, "device": device, "stream": 7}
            add("kernel", kernel, ends, took, pid=device, tid=7, args=args)
            ends, number = ends + took, number + 1
        add("user_annotation", name, at, dur, pid=pid, tid=pid, args={})
    sync = {"pid": pid, "tid": tid, "args": {"correlation": number + 50}}
    add("cuda_runtime", "cudaDeviceSynchronize", 122.0, 6.0, **sync)
    add("user_annotation", "generate", 0.0, 129.0, pid=pid, tid=pid, args={})
    return events


def document(events: Iterable[Event]) -> dict[str, Any]:
    """As Kineto writes it."""
    return {"baseTimeNanoseconds": 1_790_000_000_000_000_000, "traceEvents": list(events)}


def labelled(events: Iterable[Event], label: str) -> list[Event]:
    """Every pid with the rank's label before it, as sglang's ProfileMerger does."""
    return [{**event, "pid": f"{label} {event['pid']}"} for event in events]


def offset(events: Iterable[Event], rank: int, *, ids: bool = True) -> list[Event]:
    """Pids, and correlation ids, plus a multiple of a power of ten: TraceLens's TraceFuse."""
    moved = []
    for event in events:
        args = {**event["args"], "rank": rank}
        if ids and "correlation" in args:
            args["correlation"] += rank * 10_000
        moved.append({**event, "pid": event["pid"] + rank * 100_000, "args": args})
    return moved


def without(events: Iterable[Event], correlation: int, category: str) -> list[Event]:
    """The events but for those of a category that have this correlation id."""
    return [
        event
        for event in events
        if event["cat"] != category or event["args"].get("correlation") != correlation
    ]
