"""Instructions of the reader for an event: seconds lie on a busy machine, these do not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.generator import write_trace
from tests.paths import REPOSITORY

EVENTS = 6_000
#: By Python version: counted with msgspec 0.22 and numpy 2.4 on x86-64.
MEASURED = {(3, 11): 8_240}
MARGIN = 1.15

READ = """
import sys
from trace_timing.trace.kineto.reader import read_trace
for _ in range(int(sys.argv[2])):
    read_trace(sys.argv[1])
"""


def instructions(trace: Path, times: int) -> int:
    """Instructions of a process that reads the trace so many times."""
    command = [
        *("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"),
        *(sys.executable, "-c", READ, str(trace), str(times)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "0"}
    environment |= {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found, done.stderr
    return int(found[1].replace(",", ""))


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] not in MEASURED, reason="not counted with this Python")
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind counts the instructions")
def test_the_reader_takes_no_more_instructions_an_event_than_it_did(tmp_path: Path) -> None:
    trace = tmp_path / "fixed.json"
    events = write_trace(trace, count=EVENTS, seed=7)
    # Imports and start-up are in both counts and drop out.
    per_event = (instructions(trace, 3) - instructions(trace, 1)) / 2 / events
    print(f"{per_event:.0f} instructions an event")
    assert per_event < MARGIN * MEASURED[sys.version_info[:2]]
