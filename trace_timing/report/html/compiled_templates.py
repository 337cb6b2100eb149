"""Cache compiled templates beside their sources, as Python does with its modules."""

from __future__ import annotations

import pickle
import sys
from contextlib import suppress
from pathlib import Path

from jinja2.bccache import Bucket, FileSystemBytecodeCache


class CompiledTemplates(FileSystemBytecodeCache):
    """Jinja's compiled templates on disk, each used until its template's text changes.

    Nothing is written if Python writes no bytecode either, or if the folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))

    def load_bytecode(self, bucket: Bucket) -> None:
        """Read a compiled template; a damaged one is dropped, so that Jinja compiles it again."""
        try:
            super().load_bytecode(bucket)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write a compiled template. Jinja replaces the file, so no process reads half of it."""
        if sys.dont_write_bytecode:
            return
        with suppress(OSError):
            Path(self.directory).mkdir(exist_ok=True)
            super().dump_bytecode(bucket)
