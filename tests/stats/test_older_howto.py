"""What the pages on comparing and auditing quote is what the commands print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import REPOSITORY

pytestmark = pytest.mark.slow


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "trace_timing", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def words(text: str) -> str:
    return " ".join(text.split())


def quoted(page: str) -> str:
    text = (REPOSITORY / "docs" / page).read_text()
    (found,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    return words(found)


def test_the_old_rows_of_the_page_are_as_wrong_as_it_says(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "howto-check-an-old-result.md").read_text()
    (rows,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "older.json").write_text(rows)
    printed = run("audit", tmp_path / "older.json", "--against", REPOSITORY / "sample_traces")
    assert quoted("howto-check-an-old-result.md") in words(printed)


def test_what_the_page_quotes_of_too_few_samples_is_said() -> None:
    printed = run("compare", REPOSITORY / "sample_traces", REPOSITORY / "sample_traces")
    assert quoted("howto-compare-two-settings.md") in words(printed)
