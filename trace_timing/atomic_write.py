"""Atomic file writes: write a temporary file, sync it, rename it into place.

A reader sees the old file or the new one. A writer locks its temporary file or folder for as long
as it lives, so that the next writer can remove those of killed ones.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: temporary files of killed writers stay
    fcntl = None


@contextmanager
def replacing(path: Path, *, durable: bool = True, parents: bool = True) -> Iterator[Path]:
    """A temporary path, whose file replaces `path` when the block ends without error.

    Args:
        durable: sync it to disk, to survive a power cut; not needed for files that can be made
            again.
        parents: create the folder.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    if durable:  # a cache has thousands of files, too many to scan at each write
        remove_abandoned(path.parent.glob(f".{_literal(path.name)}.*.partial"))
    # Unique, so that two writers of one file have different temporary ones.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    partial.touch()
    try:
        with holding(partial):
            yield partial
            if durable:
                sync(partial)
            partial.replace(path)
            if durable:
                sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file into an existing folder, atomically and synced.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    with replacing(path, parents=False) as partial:
        partial.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():  # which cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems sync no folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def holding(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock on a file or folder: yields True, or False if another process has it.

    True also where the system or file system has no locks.
    """
    if fcntl is None:
        yield True
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        held = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held = False
        except OSError:
            pass
        yield held
    finally:
        os.close(descriptor)


def remove_abandoned(paths: Iterable[Path]) -> None:
    """Delete the temporary files and folders whose writer no longer runs."""
    if fcntl is None:
        return
    for path in paths:
        with suppress(OSError), holding(path, wait=False) as held:
            if not held:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _literal(name: str) -> str:
    """A glob pattern that matches only this name."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
