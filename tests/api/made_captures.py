"""Captures made of one of format version 1: its records changed, its traces as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.paths import DATA

#: Recorded by an early version: most of its controls ran with the profiler attached.
OLDER = DATA / "older_capture"
Record = dict[str, Any]


def records() -> list[Record]:
    """The lines of its run records."""
    lines = (OLDER / "runs.rank0.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def of_short() -> tuple[list[Record], Record]:
    """Of the sample `short`, the controls before any profiling, and the recorded run."""
    mine = [r for r in records() if r["sample_id"] == "short"]
    early = [r for r in mine if r["control"] and r["control"]["before_profiling"]]
    return early, next(r for r in mine if r["trace"])


def capture(folder: Path, lines: Iterable[Record], *, settings: Record | None = None) -> Path:
    """A capture directory with these records, each with a copy of the trace that it names."""
    (folder / "traces").mkdir(parents=True)
    manifest = json.loads((OLDER / "manifest.json").read_text())
    manifest["settings"] |= settings or {}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    written = []
    for number, record in enumerate(lines):
        if record["trace"]:
            trace = OLDER / "traces" / f"{record['trace']}.json.gz"
            record = {**record, "trace": f"{record['sample_id']}-{number}"}
            shutil.copy(trace, folder / "traces" / f"{record['trace']}.json.gz")
        written.append(json.dumps(record))
    (folder / "runs.rank0.jsonl").write_text("".join(f"{line}\n" for line in written))
    return folder


def renamed(record: Record, sample_id: str, **changes: Any) -> Record:
    """A record as another sample's."""
    return {**record, "sample_id": sample_id, **changes}


def controls_only(folder: Path) -> Path:
    """A capture of which nothing was recorded."""
    return capture(folder, (r for r in records() if r["role"] == "control"))


def several_samples(folder: Path, count: int, *, controlled: Callable[[int], bool]) -> Path:
    """`count` samples with the trace of `short`; those chosen have its controls, too."""
    early, recorded = of_short()
    lines = []
    for i in range(count):
        lines += [renamed(r, f"s{i}") for r in early if controlled(i)]
        lines.append(renamed(recorded, f"s{i}"))
    return capture(folder, lines)
