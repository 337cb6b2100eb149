"""The column reference is what trace_timing.schema says."""

from __future__ import annotations

import subprocess
import sys

from tests.paths import REPOSITORY


def test_the_column_reference_is_in_step_with_the_schemas() -> None:
    check = subprocess.run(
        [sys.executable, "docs/columns.py", "--check"],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr
