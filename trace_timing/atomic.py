"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what is written takes the place of `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unique, so that two writers of one file do not meet in the partial one.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
