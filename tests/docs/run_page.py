"""Run a page's blocks in order, in the current folder: python -m tests.docs.run_page PAGE.

One page's Python shares its names, as a reader's session would; shell blocks run in between.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.docs.blocks import Block, blocks
from tests.docs.given import given, names_taken
from tests.docs.workplace import environment, runnable


def run_page(page: Path) -> None:
    """Run every block that is not exempt; exits with the first that fails and its line."""
    names: dict[str, Any] = {"__name__": "__main__"}
    os.environ.update(environment(Path.cwd()))
    for block in blocks(page.read_text()):
        if block.exempt:
            continue
        print(f"== line {block.line}, {block.kind}", flush=True)
        if block.kind == "file":
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text)
        elif block.kind == "sh":
            subprocess.run(["bash", "-euo", "pipefail", "-c", runnable(block.text)], check=True)
        elif block.kind == "python":
            _run_python(block, page, names)


def _run_python(block: Block, page: Path, names: dict[str, Any]) -> None:
    missing = names_taken(block.text) - names.keys()
    if missing:
        names.update(given(page.name.split(".")[0]))
    missing -= names.keys()
    if missing:
        sys.exit(f"nothing gives {', '.join(sorted(missing))}: see tests/docs/given.py")
    padded = "\n" * block.line + block.text
    exec(compile(padded, str(page), "exec"), names)


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
