"""Read the fields of a Kineto file outside its events into TraceInfo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from trace_timing.trace.events import Damage, DeviceInfo, TraceInfo
from trace_timing.trace.kineto.text import UNREADABLE, repaired

#: Longest field of a header that a profiler would write.
_MOST_BYTES = 1 << 20
_FIELDS = ("baseTimeNanoseconds", "deviceProperties", "distributedInfo")
_VERSION = "_version"


def header_of(fields: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    """The fields of a document that `trace_info` needs, without unreadable ones."""
    header = {}
    for name, raw in fields.items():
        if memoryview(raw).nbytes <= _MOST_BYTES and (name in _FIELDS or name.endswith(_VERSION)):
            try:
                header[name] = msgspec.json.decode(repaired(raw)[0])
            except UNREADABLE:
                continue
    return header


#: Fields of the header with Kineto's log, by severity.
_LOGS = ("ERROR", "WARNING")
_MOST_NOTES, _NOTE_LETTERS = 20, 200


def trace_info(
    header: Mapping[str, Any],
    *,
    rounded_to_us: bool,
    skipped: Mapping[str, int],
    cpu_ops: bool,
    processes: tuple[str, ...] = (),
    damage: Damage,
) -> TraceInfo:
    """Read the header; fields that are absent or of another type stay None."""
    distributed = header.get("distributedInfo")
    distributed = distributed if isinstance(distributed, dict) else {}
    return TraceInfo(
        base_time_ns=_whole(header.get("baseTimeNanoseconds")) or None,
        devices=_devices(header.get("deviceProperties")),
        rank=_whole(distributed.get("rank")),
        world_size=_whole(distributed.get("world_size")),
        versions={
            name: value
            for name, value in sorted(header.items())
            if name.endswith(_VERSION) and (isinstance(value, str) or _is_number(value))
        },
        rounded_to_us=rounded_to_us,
        skipped=dict(sorted(skipped.items())),
        notes=_notes(header),
        has_cpu_ops=cpu_ops,
        processes=processes,
        damage=damage,
    )


def _notes(header: Mapping[str, Any]) -> tuple[str, ...]:
    logs = [header.get(name) for name in _LOGS]
    lines = [line for log in logs if isinstance(log, list) for line in log if isinstance(line, str)]
    return tuple(line[:_NOTE_LETTERS] for line in lines[:_MOST_NOTES])


def _devices(properties: Any) -> tuple[DeviceInfo, ...]:
    if not isinstance(properties, list):
        return ()
    return tuple(
        DeviceInfo(
            index=position if (index := _whole(device.get("id"))) is None else index,
            name=str(device.get("name", "")),
            total_memory_bytes=_whole(device.get("totalGlobalMem")),
            sm_count=_whole(device.get("numSms")),
        )
        for position, device in enumerate(properties)
        if isinstance(device, dict)
    )


def _whole(value: Any) -> int | None:
    """An integer that fits int64; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if abs(number) < 2**63 else None


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2**63
