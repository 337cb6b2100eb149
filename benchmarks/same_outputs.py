"""Check that two commits give the same outputs of `analyze`, value by value.

    python -m benchmarks.same_outputs BEFORE AFTER sample_traces other_traces/*.json.gz

For changes that must not change a figure. Each commit is checked out beside this one and run on the
same inputs; columns and keys that were renamed in between are mapped to their new names. Prints
what differs and exits with 1, or the number of values that are equal.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

REPOSITORY = Path(__file__).resolve().parent.parent
#: Names before the renaming of 2026-11-26 → names since.
RENAMED = {
    "laws": "checks",
    "law": "check",
    "laws_hold": "checks_hold",
    "doubts": "warnings",
    "law_broken": "check_broken",
}
#: Numbers of the checks before they had names.
NUMBERED = dict(
    enumerate(
        ("windows_sum", "busy_and_idle", "kernels_sum", "every_op_placed", "nothing_negative"), 1
    )
)
#: Of the summary: digests of files and what depends on the version of the code.
NOT_COMPARED = {"files", "tool_version"}


def outputs(commit: str, inputs: list[str], folder: Path) -> list[Path]:
    """The output folders of `analyze` at a commit, one an input."""
    tree = folder / commit.replace("/", "-")
    subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=REPOSITORY, check=True)
    try:
        return [
            _analyzed(tree, source, folder / f"{tree.name}-{i}") for i, source in enumerate(inputs)
        ]
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=REPOSITORY, check=True)


def _analyzed(tree: Path, source: str, out: Path) -> Path:
    path = str(Path(source).resolve())
    command = [sys.executable, "-m", "trace_timing", "analyze", path, "-o", str(out), "--no-cache"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        print(f"{source}: exit code {done.returncode}: {done.stderr.strip()[-200:]}")
    return out


def values(folder: Path) -> Iterator[tuple[str, Any]]:
    """Every value of an output folder by its place: file, row, column; or path in the summary."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".parquet":
            yield from _of_rows(name, pq.read_table(file).to_pylist())
        elif file.suffix == ".csv":
            yield from _of_rows(name, pd.read_csv(file).to_dict("records"))
        elif file.name == "summary.json":
            yield from _of_json(name, json.loads(file.read_text()))


def _of_rows(name: str, rows: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    for number, row in enumerate(rows):
        for column, value in row.items():
            yield f"{name}[{number}].{RENAMED.get(column, column)}", _renamed(value)


def _of_json(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "law":
                yield f"{place}.check", NUMBERED[inner]
            elif key not in NOT_COMPARED:
                yield from _of_json(f"{place}.{RENAMED.get(key, key)}", inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _of_json(f"{place}[{i}]", inner)
    else:
        yield place, _renamed(value)


def _renamed(value: Any) -> Any:
    if isinstance(value, str):
        return ",".join(RENAMED.get(part, part) for part in value.split(","))
    return value


def _equal(a: Any, b: Any) -> bool:
    return a is b or a == b or (a != a and b != b)


def main(before: str, after: str, inputs: list[str]) -> int:
    """Compare and print; 1 where anything differs."""
    equal = 0
    differing: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = [outputs(commit, inputs, Path(scratch)) for commit in (before, after)]
        for source, a, b in zip(inputs, *folders, strict=True):
            one, other = dict(values(a)), dict(values(b))
            for place in sorted(one.keys() | other.keys()):
                if place in one and place in other and _equal(one[place], other[place]):
                    equal += 1
                else:
                    differing.append(
                        f"{source}: {place}: {one.get(place)!r} / {other.get(place)!r}"
                    )
    print("\n".join(differing[:40]))
    print(f"{equal} values of {len(inputs)} inputs are equal, {len(differing)} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
