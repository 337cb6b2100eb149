"""Process a saved Kineto trace: remove the machine's names, count lost ops, store it compressed."""

from __future__ import annotations

import gzip
import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import msgspec

from trace_timing.api_call_names import role_of_call
from trace_timing.atomic_write import replacing
from trace_timing.errors import CaptureError
from trace_timing.recording.storage.directory import refused
from trace_timing.stages import GENERATE, RECORDING_GUARD, RECORDING_OFF

_CALLS = frozenset({"cuda_runtime", "cuda_driver", "hip_runtime", "hip_driver"})
_OPS = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_HOST_NAME = re.compile(rb'"host_?name"\s*:\s*"[^"]*"', re.IGNORECASE)
_TRACE_NAME = re.compile(rb'"traceName"\s*:\s*"(?:[^"\\]|\\.)*"')
#: Deflate level: for Kineto's text, level 3 is within a tenth of level 6's size in a third of its
#: time.
_LEVEL = 3


class _Args(msgspec.Struct):
    correlation: int | str | None = None


class _Event(msgspec.Struct):
    cat: str = ""
    name: str = ""
    ts: float = 0.0
    dur: float = 0.0
    pid: int | str | None = None
    tid: int | str | None = None
    args: _Args | None = None


class _Document(msgspec.Struct):
    traceEvents: list[_Event]


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Counts of a session's trace, and of the kernels that are missing in it.

    `lost` counts kernel launches inside `generate` without their kernel, except those captured into
    a graph. `ranges` counts `generate` ranges, `generate_ns` is their time on the host,
    `decode_steps` counts ranges of decode steps. `graphs` counts calls that launch or instantiate a
    CUDA or HIP graph, anywhere. Some CUPTI builds drop a session's first ops (pytorch#192021).
    """

    launches: int
    ops: int
    lost: int
    #: Launches without kernel next to where recording was switched; not in `lost`.
    lost_at_switches: int
    ranges: int
    generate_ns: int
    decode_steps: int = 0
    graphs: int = 0


def inspect(text: bytes, *, name: str) -> Losses:
    """Count launches, ops and lost kernels of one trace.

    Raises:
        CaptureError: no complete JSON document; Kineto does not report a full disk.
    """
    try:
        events = msgspec.json.decode(text, type=_Document).traceEvents
    except msgspec.MsgspecError as error:
        raise CaptureError(
            f"the profiler wrote a broken trace of {name}",
            why=str(error),
            remedy="look for a full disk, then go on with --resume",
        ) from error
    windows = _spans(events, GENERATE)
    launches = [
        event
        for event in _running(events)
        if role_of_call(event.name) == "launch" and any(b <= event.ts < e for b, e in windows)
    ]
    ops = {_correlation(event) for event in events if event.cat in _OPS}
    missing = [_correlation(event) not in ops for event in launches]
    switched = _at_switches(events, [event.ts for event in launches], missing)
    return Losses(
        launches=len(launches),
        ops=len(ops),
        lost=sum(missing) - switched,
        lost_at_switches=switched,
        ranges=len(windows),
        generate_ns=round(sum(end - begin for begin, end in windows) * 1000),
        decode_steps=sum(
            event.cat == "user_annotation" and event.name.startswith("decode[") for event in events
        ),
        graphs=sum(_is_of_graph(event) for event in events),
    )


def _at_switches(events: list[_Event], at: list[float], missing: list[bool]) -> int:
    """How many of the launches without kernel are due to recording being switched.

    Those in a gap or its guard step, and those last before a gap with no launch after them that has
    its kernel; but none if the whole stretch before the gap lacks its kernels.

    Args:
        at, missing: times of n launches, in order, and whether their kernel is missing.
    """
    gaps = _spans(events, RECORDING_OFF)
    spans = sorted([*gaps, *_spans(events, RECORDING_GUARD)])
    explained = {
        i
        for i, (time, lost) in enumerate(zip(at, missing, strict=True))
        if lost and any(begin <= time < end for begin, end in spans)
    }
    for begin, _ in gaps:
        behind = max((end for _, end in spans if end <= begin), default=-math.inf)
        stretch = range(bisect_left(at, behind), bisect_left(at, begin))
        if any(not missing[i] for i in stretch):
            explained.update(takewhile(lambda i: missing[i], reversed(stretch)))
    return len(explained)


def _spans(events: list[_Event], name: str) -> list[tuple[float, float]]:
    return [
        (event.ts, event.ts + event.dur)
        for event in events
        if event.cat == "user_annotation" and event.name == name
    ]


def _is_of_graph(event: _Event) -> bool:
    return event.cat in _CALLS and (
        role_of_call(event.name) == "graph_launch" or "GraphInstantiate" in event.name
    )


def _running(events: list[_Event]) -> Iterator[_Event]:
    """API calls, without those between begin and end of a graph capture on their thread, which
    launch nothing that runs."""
    capturing: set[tuple[int | str | None, int | str | None]] = set()
    calls = [event for event in events if event.cat in _CALLS]
    for event in sorted(calls, key=lambda event: event.ts):
        thread = (event.pid, event.tid)
        if "StreamBeginCapture" in event.name:
            capturing.add(thread)
        elif "StreamEndCapture" in event.name:
            capturing.discard(thread)
        elif thread not in capturing:
            yield event


def clean(text: bytes, name: str) -> bytes:
    """The trace without the recording machine's host name and file path.

    They occur only before and after the list of events.
    """
    head, tail = text[:8192], text[8192:]
    head = _HOST_NAME.sub(b'"host_name": ""', head)
    cut = max(len(tail) - 4096, 0)
    named = f'"traceName": "{name}.json"'.encode()
    if tail:
        return head + tail[:cut] + _TRACE_NAME.sub(named, tail[cut:])
    return _TRACE_NAME.sub(named, head)


def store_compressed(text: bytes, path: Path) -> None:
    """Write `path` (.json.gz) atomically, without a time stamp inside.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    try:
        with (
            replacing(path, parents=False) as partial,
            partial.open("wb") as file,
            gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed,
        ):
            packed.write(text)
    except OSError as error:
        raise refused(error, path) from error


def _correlation(event: _Event) -> str | None:
    number = event.args.correlation if event.args is not None else None
    return None if number is None else str(number)
