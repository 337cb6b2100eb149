"""The part of a Kineto file outside its events -> TraceInfo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_timing.trace.events import DeviceInfo, TraceInfo

#: Fields of the header in which Kineto puts its log, by severity.
_LOGS = ("ERROR", "WARNING")
_MOST_NOTES, _NOTE_LETTERS = 20, 200


def trace_info(
    header: Mapping[str, Any],
    *,
    rounded_to_us: bool,
    skipped: Mapping[str, int],
    cpu_ops: bool,
    processes: tuple[str, ...] = (),
) -> TraceInfo:
    """Read what the header says; whatever is absent or of another type stays None."""
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
            if name.endswith("_version") and isinstance(value, int | float | str)
        },
        rounded_to_us=rounded_to_us,
        skipped=dict(sorted(skipped.items())),
        notes=_notes(header),
        has_cpu_ops=cpu_ops,
        processes=processes,
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
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None
