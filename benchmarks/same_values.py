"""Check that other versions of Python and dependencies give the same outputs.

    python -m benchmarks.same_values collect one.json    # with each Python and set of dependencies
    python -m benchmarks.same_values compare one.json other.json …

Every value of every table and of the summary, of the recorded traces in this repository. Integers,
text and dates must be equal; floats may differ by LAST_DIGITS of their value, for sums and
statistics of other versions of NumPy, SciPy and pandas add in another order. Exit code 1 if any
other value differs.
"""

from __future__ import annotations

import json
import math
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.same_outputs import values

REPOSITORY = Path(__file__).resolve().parent.parent
INPUTS = ("sample_traces", "tests/data/why/ranks", "tests/data/why/graphs")
PACKAGES = ("numpy", "pandas", "pyarrow", "scipy", "msgspec")
#: Relative; a float64 has 16 digits.
LAST_DIGITS = 1e-9


def collect(path: Path) -> None:
    """Write the values that this Python computes from the traces."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["analyze", *INPUTS, "-o", f"{folder}/report", "--no-cache", "--no-report"]
        subprocess.run(
            [sys.executable, "-m", "trace_timing", *command, "--jobs", "1"],
            cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        found = dict(values(Path(folder) / "report"))
    with_what = {name: version(name) for name in PACKAGES}
    said = {"python": platform.python_version(), **with_what}
    path.write_text(json.dumps({"with": said, "values": found}, default=str, indent=0))


def close(one: Any, other: Any) -> bool:
    """Whether two values are equal, floats but for their last digits."""
    if isinstance(one, float) and isinstance(other, float):
        same_nan = math.isnan(one) and math.isnan(other)
        return same_nan or math.isclose(one, other, rel_tol=LAST_DIGITS, abs_tol=1e-12)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    return type(one) is type(other) and bool(one == other)


def _spelled(values: dict[str, Any], place: str) -> str | None:
    """A value with its type: 1 is not 1.0."""
    return json.dumps(values[place]) if place in values else None


def compare(paths: list[Path]) -> int:
    """Print how many values are the same everywhere; 1 where any is not."""
    first, *others = (json.loads(path.read_text()) for path in paths)
    print("first:", _said(first))
    differing = 0
    for other in others:
        mine, its = first["values"], other["values"]
        places = sorted(mine.keys() | its.keys())
        unequal = [p for p in places if _spelled(mine, p) != _spelled(its, p)]
        wrong = [p for p in unequal if p not in mine or p not in its or not close(mine[p], its[p])]
        print(
            f"{_said(other)}: {len(places) - len(unequal)} values equal, "
            f"{len(unequal) - len(wrong)} but for their last digits, {len(wrong)} not"
        )
        for place in wrong[:20]:
            print(f"    {place}: {mine.get(place)!r} / {its.get(place)!r}")
        differing += len(wrong)
    return int(differing > 0)


def _said(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found["with"].items())


if __name__ == "__main__":
    if sys.argv[1] == "collect":
        collect(Path(sys.argv[2]))
    else:
        sys.exit(compare([Path(argument) for argument in sys.argv[2:]]))
