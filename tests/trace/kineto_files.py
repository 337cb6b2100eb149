"""Small Kineto documents for tests, and the plain slow reading of one."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

CALL = {
    "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 10, "tid": 11,
    "ts": 100.001, "dur": 5.25, "args": {"cbid": 211, "correlation": 7},
}  # fmt: skip
KERNEL = {
    "ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "ts": 110.5, "dur": 3.125,
    "args": {"device": 0, "stream": 7, "correlation": 7, "graph id": 2,
             "graph node id": 4},
}  # fmt: skip
RANGE = {
    "ph": "X", "cat": "user_annotation", "name": "prefill", "pid": 10, "tid": 11, "ts": 99.0,
    "dur": 20.0, "args": {"External id": 1},
}  # fmt: skip
FLOW = {"ph": "s", "id": 7, "pid": 10, "tid": 11, "ts": 100.001, "cat": "ac2g", "name": "ac2g"}
META = {"ph": "M", "name": "process_name", "ts": 0.0, "pid": 10, "args": {"name": "python"}}

KEPT = {
    "user_annotation", "cuda_runtime", "cuda_driver", "hip_runtime", "kernel", "gpu_memcpy",
    "gpu_memset", "overhead", "cuda_sync",
}  # fmt: skip


def write(path: Path, document: Any) -> Path:
    """Write text, or any value as JSON; gzipped where the name says so."""
    text = document if isinstance(document, str) else json.dumps(document)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def plain_reading(text: str) -> tuple[list[tuple[str, str, int, int]], Counter[str]]:
    """(category, name, start, duration in ns) of each kept event, and what was skipped.

    By Python's own json with decimal digits: slow, and nothing to get wrong.
    """
    document = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    events = document if isinstance(document, list) else document["traceEvents"]
    rows, skipped = [], Counter[str]()
    for event in events:
        if event.get("ph") == "X" and event.get("cat") in KEPT:
            times = [int((event[key] * 1000).to_integral_value()) for key in ("ts", "dur")]
            rows.append((event["cat"], event["name"], times[0], times[1]))
        else:
            complete = event.get("ph") == "X"
            skipped[(complete and event.get("cat")) or f"ph {event.get('ph')}"] += 1
    return rows, skipped
