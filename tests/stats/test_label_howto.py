"""The code of the how-to runs as it stands, on the sample traces, and says what the page quotes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import REPOSITORY

pytestmark = pytest.mark.slow
PAGE = REPOSITORY / "docs" / "howto-label-a-latency-model.md"


def test_the_pages_lines_read_the_labels(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trace_timing", "analyze", str(REPOSITORY / "sample_traces")]
    subprocess.run([*command, "-o", str(tmp_path / "report"), "--no-report"], check=True)
    text = PAGE.read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "usable: 100% of samples, 100% of steps"
    # What the page quotes is what its code says.
    assert f"```text\n{done.stdout}```" in text
