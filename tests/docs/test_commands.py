"""Every command and Python block in README and docs runs, in order, as a reader would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks, documents
from tests.docs.workplace import environment, workplace
from tests.paths import REPOSITORY

#: The blocks of the translation are those of the original: tests/docs/test_readme_zh.py.
PAGES = [page for page in documents() if page.name != "README.zh.md"]


@pytest.mark.slow
@pytest.mark.capture
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_to_run_runs(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    workplace(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.run_page", page],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]


def test_every_exempt_block_says_why() -> None:
    found = [b for page in documents() for b in blocks(page.read_text())]
    assert any(b.kind == "sh" and not b.exempt for b in found)
    assert all(b.exempt.strip() for b in found if b.exempt)


EXAMPLE = """
<!-- not run: needs a GPU -->
```sh
trace-timing doctor --rates
```
<!-- file: stages.toml -->
```toml
[stages]
```
```
trace-timing analyze x
```
```
T_total 335 ms
```
"""


def test_marks_and_languages_say_what_is_done_with_a_block() -> None:
    assert [(b.kind, b.exempt, b.file) for b in blocks(EXAMPLE)] == [
        ("sh", "needs a GPU", ""),
        ("file", "", "stages.toml"),
        ("sh", "", ""),
        ("text", "", ""),
    ]


def test_the_readmes_own_installation_is_run_by_the_gate() -> None:
    readme, gate = (REPOSITORY / "README.md").read_text(), (REPOSITORY / ".ci" / "run").read_text()
    for mark in ("main", "test"):
        assert f"<!-- ci:{mark} -->" in readme
        assert f"readme_block {mark}" in gate
