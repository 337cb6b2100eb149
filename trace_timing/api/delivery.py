"""Outputs to any file system that fsspec knows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trace_timing.errors import UsageError


@contextmanager
def delivered(output: str) -> Iterator[Path]:
    """A local folder whose files go to a URL when the block ends well; a path is itself.

    Raises:
        UsageError: the URL cannot be written to.
    """
    if "://" not in output:
        yield Path(output)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        _upload(Path(folder), output)


def _upload(folder: Path, url: str) -> None:
    import fsspec

    try:
        fs, inner = fsspec.core.url_to_fs(url)
        fs.makedirs(inner, exist_ok=True)
        for file in sorted(f for f in folder.iterdir() if f.is_file()):
            fs.put_file(str(file), f"{inner.rstrip('/')}/{file.name}")
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(
            f"{url}: cannot be written",
            why=str(error) or type(error).__name__,
            remedy="Check the URL and its permissions, or give a local folder with -o.",
        ) from error
