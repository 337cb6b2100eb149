"""The README shows what its command prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import REPOSITORY, SAMPLE_TRACES


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_table_is_the_one_that_analyze_prints(page: str, tmp_path: Path) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    shown = text.split("```text\n", 1)[1].split("```", 1)[0].splitlines()
    command = [sys.executable, "-m", "trace_timing", "analyze", str(SAMPLE_TRACES), "--no-report"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out")],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
    )
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    assert printed[: len(shown)] == shown
