"""How the project is laid out: folders, modules and functions that one can take in at a glance."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.paths import REPOSITORY

PACKAGE = REPOSITORY / "trace_timing"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_MODULES, MOST_LINES, MOST_FUNCTION_LINES = 14, 400, 40
#: Longer functions, each with its reason.
LONG = {
    # A click command lists its parameters, one each option, in the order of --help.
    "trace_timing/commands/analyze.py:command",
    # One value with many fields, a field a line.
    "trace_timing/report/detail.py:sample_detail",
    "trace_timing/report/html/timeline_data.py:timeline_data",
}


def length(function: ast.FunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_no_folder_holds_more_modules_than_one_can_overlook() -> None:
    counts = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    many = {str(f.relative_to(REPOSITORY)): n for f, n in counts.items() if n > MOST_MODULES}
    assert not many


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    name = path.relative_to(REPOSITORY).as_posix()
    long = {
        f"{name}:{node.name}": length(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and length(node) > MOST_FUNCTION_LINES
    }
    assert set(long) <= LONG, long


def test_what_is_excused_is_there() -> None:
    found = {
        f"{path.relative_to(REPOSITORY).as_posix()}:{node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and length(node) > MOST_FUNCTION_LINES
    }
    assert found == LONG
