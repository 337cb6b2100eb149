"""Write docs/columns.md from the schemas, or with --check say whether it is in step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from trace_timing.schema import MAIN_TABLES, TABLES, file_of

PAGE = Path(__file__).parent / "columns.md"


def text() -> str:
    """The reference: a section a table, a row a column."""
    parts = [
        "# Columns\n\nGenerated from `trace_timing/schema/` by `python docs/columns.py`; "
        "do not edit. Times end in `_ns` (whole nanoseconds) or `_ms` (milliseconds), shares in "
        "`_frac`. Empty means: not known, or there is no such thing; it never means 0.\n\n"
        f"`analyze -o` always writes {_listed(MAIN_TABLES)}. The others lie in `why/`, and only "
        "those that have a row: no file, no row.\n"
    ]
    for table in TABLES.values():
        parts.append(f"\n## {table.name}\n\n`{file_of(table.name)}`. Key: {_listed(table.key)}.")
        parts.append(" A sample's metadata columns follow.\n" if table.open else "\n")
        parts.append(
            "\n| column | type | unit | may be empty | definition |\n|---|---|---|---|---|\n"
        )
        for c in table:
            empty = "yes" if c.nullable else ""
            cells = f"| `{c.name}` | {c.type} | {c.unit} | {empty} | {c.definition} |"
            parts.append(cells + "\n")
    return "".join(parts)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == text() else "docs/columns.md is not in step: run it anew")
    PAGE.write_text(text())
