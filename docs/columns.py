"""Write docs/columns.md from the schemas, or with --check say whether it is in step."""

from __future__ import annotations

import sys
from pathlib import Path

from trace_timing.schema import TABLES

PAGE = Path(__file__).parent / "columns.md"


def text() -> str:
    """The reference: a section a table, a row a column."""
    parts = [
        "# Columns\n\nGenerated from `trace_timing/schema/` by `python docs/columns.py`; "
        "do not edit. Times end in `_ns` (whole nanoseconds) or `_ms` (milliseconds), shares in "
        "`_frac`. Empty means: not known, or there is no such thing; it never means 0.\n"
    ]
    for table in TABLES.values():
        parts.append(f"\n## {table.name}\n\nKey: {', '.join(f'`{k}`' for k in table.key)}.")
        parts.append(" A sample's metadata columns follow.\n" if table.open else "\n")
        parts.append(
            "\n| column | type | unit | may be empty | definition |\n|---|---|---|---|---|\n"
        )
        for c in table:
            empty = "yes" if c.nullable else ""
            cells = f"| `{c.name}` | {c.type} | {c.unit} | {empty} | {c.definition} |"
            parts.append(cells + "\n")
    return "".join(parts)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == text() else "docs/columns.md is not in step: run it anew")
    PAGE.write_text(text())
