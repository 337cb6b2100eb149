"""Every code of a warning, an integrity check, a verdict or a session's finding is tested."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from tests.paths import REPOSITORY
from trace_timing.records.findings import CheckName
from trace_timing.timeline.build.attribution import REASONS
from trace_timing.timeline.integrity.table import RUN_CHECKS, TIMELINE_CHECKS
from trace_timing.trace.integrity.table import TRACE_CHECKS

#: Where a code is no text in the call itself: module → the codes that it can be there.
COMPUTED = {
    # Whatever made the warning is tested where it is made.
    "api/analysis/examine.py": set(),
    "trace/integrity/check.py": {check.code for check in TRACE_CHECKS},
    "stats/latency/warnings.py": {"scaled_interval_wide", "scaled_without_interval"},
    "stats/trace/warnings.py": set(REASONS)
    | {check.code for check in (*TRACE_CHECKS, *TIMELINE_CHECKS, *RUN_CHECKS)},
}
MAKERS = {"FigureWarning", "IntegrityResult", "Finding", "Check", "Verdict"}


def codes_of(path: Path) -> Iterator[str | None]:
    """The codes given to what a module makes; None for one that is computed."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg == "code" and ast.unparse(node.func).split(".")[-1] in MAKERS:
                value = keyword.value
                yield value.value if isinstance(value, ast.Constant) else None


def all_codes() -> dict[str, str]:
    """Code → a module that gives it."""
    found: dict[str, str] = {}
    package = REPOSITORY / "trace_timing"
    given = {
        str(path.relative_to(package)): list(codes_of(path))
        for path in sorted(package.rglob("*.py"))
    }
    for module, codes in given.items():
        found |= {code: module for code in codes if code is not None}
    for module, codes in given.items():
        for code in sorted(COMPUTED[module]) if None in codes else ():
            found.setdefault(code, module)
    return found


def texts_of_tests() -> set[str]:
    """All text constants of all tests but this one."""
    return {
        node.value
        for path in (REPOSITORY / "tests").rglob("*.py")
        if path != Path(__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_code_occurs_in_a_test() -> None:
    codes = all_codes()
    assert len(codes) > 70
    tested = texts_of_tests()
    assert {code: module for code, module in codes.items() if code not in tested} == {}


def test_every_check_occurs_in_a_test() -> None:
    assert set(get_args(CheckName)) <= texts_of_tests()
