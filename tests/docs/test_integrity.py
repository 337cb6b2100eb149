"""The page on integrity lists the checks that there are."""

from __future__ import annotations

from tests.paths import REPOSITORY
from trace_timing.timeline.integrity.table import RUN_CHECKS, TIMELINE_CHECKS
from trace_timing.trace.integrity.table import TRACE_CHECKS


def test_every_check_stands_with_its_level_and_bound_in_the_order_of_the_tables() -> None:
    checks = (
        *((c.code, c.level, c.message, c.bound) for c in TRACE_CHECKS),
        *((c.code, c.level, c.message, c.bound) for c in TIMELINE_CHECKS),
        *((c.code, c.level, c.message, c.bound) for c in RUN_CHECKS),
    )
    expected = [f"| `{code}` | {level} | {said} | {bound} |" for code, level, said, bound in checks]
    page = (REPOSITORY / "docs" / "integrity.md").read_text().splitlines()
    assert [line for line in page if line.startswith("| `")] == expected
    assert len({code for code, *_ in checks}) == len(checks)
