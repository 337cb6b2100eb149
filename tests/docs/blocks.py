"""The fenced blocks of the documents, and what is said about running them.

A block runs as it stands unless the line above it is a comment that says otherwise:

    <!-- not run: why -->      is read by people alone
    <!-- ci:main -->           is run by .ci/run itself, in an environment of its own
    <!-- file: stages.toml --> is written to that file, for the blocks that follow

Blocks of `sh` and `python` run; so do those of no language that hold a command. Others are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.paths import REPOSITORY

#: Generated, without a block to run.
NOT_DOCUMENTS = {"columns.md"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (not run|ci|file): ?(.*?) -->\n\Z")
_COMMAND = re.compile(r"^(trace-timing|pip|python3?|\S+/trace-timing|\S+/pip) ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: its text, and what is to be done with it."""

    text: str
    #: sh, python, file or text.
    kind: str
    line: int
    #: Of `not run` and `ci`: why it is not run here.
    exempt: str = ""
    #: Of `file`: its name.
    file: str = ""


def documents() -> list[Path]:
    """README and every page of docs, those to come too."""
    pages = [*REPOSITORY.glob("README*.md"), *(REPOSITORY / "docs").glob("*.md")]
    return sorted(page for page in pages if page.name not in NOT_DOCUMENTS)


def blocks(text: str) -> list[Block]:
    """Every fenced block, in order."""
    return [_block(text, match) for match in _FENCE.finditer(text)]


def _block(text: str, match: re.Match[str]) -> Block:
    language, code = match[1], match[2]
    line = text.count("\n", 0, match.start()) + 1
    mark = _MARK.search(text[: match.start()])
    kind = _kind(language, code)
    if mark is None:
        return Block(code, kind, line)
    if mark[1] == "file":
        return Block(code, "file", line, file=mark[2])
    return Block(code, kind, line, exempt="run by .ci/run" if mark[1] == "ci" else mark[2])


def _kind(language: str, code: str) -> str:
    if language in ("sh", "bash", "console"):
        return "sh"
    if language == "python":
        return "python"
    return "sh" if not language and _COMMAND.search(code) else "text"
