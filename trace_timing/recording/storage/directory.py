"""The capture directory: manifest, one file of run records a rank, traces; crash-safe.

Everything but the run records is written to a temporary file and renamed. Records are appended in
one write per group, after the traces that they name, so a process killed at any instant leaves at
worst a torn last line and files that no record names; opening with `resume` removes both.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trace_timing import atomic_write
from trace_timing.errors import CaptureError, UsageError
from trace_timing.lock import locked
from trace_timing.records.encoding import FORMAT_VERSION, encode
from trace_timing.records.manifest import MANIFEST_NAME, TRACES_DIR, Manifest, decode_manifest
from trace_timing.records.runs import Role, RunRecord, decode_run_record, runs_name

#: Ending of temporary files; never read, removed on resume.
PARTIAL = ".partial"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: A recorded run, or the controls of a repeat: role, sample, repeat.
GroupKey = tuple[Role, str, int]


class StorageError(CaptureError):
    """The system refused a write. The capture stops, for other samples would fail too."""


@dataclass(frozen=True)
class CaptureDirectory:
    """An open capture directory, as one rank sees it."""

    root: Path
    rank: int = 0

    @property
    def traces(self) -> Path:
        """Folder of the trace files."""
        return self.root / TRACES_DIR

    @property
    def runs(self) -> Path:
        """File of this rank's run records."""
        return self.root / runs_name(self.rank)

    @property
    def manifest(self) -> Path:
        """File of the manifest, written by rank 0 alone."""
        return self.root / MANIFEST_NAME

    def trace_path(self, name: str, ending: str) -> Path:
        """File of the trace `name`; `ending` is "json.gz" or "parquet"."""
        return self.traces / f"{name}.{ending}"

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest atomically."""
        write_whole(self.manifest, encode(manifest))

    def read_manifest(self) -> Manifest | None:
        """The manifest; None if there is none yet."""
        if not self.manifest.exists():
            return None
        return decode_manifest(self.manifest.read_bytes(), source=str(self.manifest))

    def append(self, group: Sequence[RunRecord]) -> None:
        """Append the records of one group (a recorded run, or a sample's controls) in one write."""
        data = b"".join(encode(record) + b"\n" for record in group)
        before = self.runs.stat().st_size if self.runs.exists() else 0
        try:
            with self.runs.open("ab", buffering=0) as file:
                _write_all(file.fileno(), data)
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.runs, before)
            raise refused(error, self.runs) from error


@contextmanager
def exclusive(root: Path, *, rank: int = 0) -> Iterator[None]:
    """Lock a directory against other captures of this rank; take it before opening.

    Raises:
        UsageError: another capture is writing into it.
        StorageError: it cannot be written.
    """
    with ExitStack() as held:
        path = root / f".capture.rank{rank}.lock"
        try:
            root.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(path, work="capture", directory=str(root)))
        except OSError as error:
            raise refused(error, path) from error
        yield


def check_place(root: Path, *, rank: int = 0, resume: bool = False) -> None:
    """Refuse a directory that cannot take a capture, before a model is loaded for one.

    Raises:
        UsageError: it holds a capture and `resume` was not asked for, or cannot be written.
    """
    directory = CaptureDirectory(root, rank)
    if directory.runs.exists() and not resume:
        raise _holds_a_capture(directory)
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        full = error.errno in _FULL_DISK
        raise UsageError(
            f"{root}: {'the disk is full' if full else 'cannot be written'}",
            why=str(error.strerror),
            remedy="free some space, or give another directory with -o"
            if full
            else "give a directory that you may write to with -o",
        ) from error


def _holds_a_capture(directory: CaptureDirectory) -> UsageError:
    return UsageError(
        f"{directory.root} holds a capture already",
        why=f"{directory.runs.name} is there",
        remedy="add --resume to go on with it, or give another directory",
    )


def open_directory(
    root: Path, *, rank: int = 0, together: int = 1, resume: bool = False
) -> CaptureDirectory:
    """Open a capture directory for writing.

    With `resume`, torn lines, failed runs and incomplete controls of a sample are removed from this
    rank's records, so that they are made again, and so are its files that no record names.

    Args:
        together: how many ranks record each run (tensor parallel); 1 where each has its own
            samples.
    Raises:
        UsageError: it holds this rank's records already and `resume` was not asked for, or they
            are of an older format.
        StorageError: it cannot be written.
    """
    directory = CaptureDirectory(root, rank)
    try:
        directory.traces.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(error, directory.traces) from error
    if directory.runs.exists() and not resume:
        raise _holds_a_capture(directory)
    if resume:
        _refuse_other_format(directory)
        _mend(directory, together)
    return directory


def _refuse_other_format(directory: CaptureDirectory) -> None:
    manifest = directory.read_manifest()
    if manifest is not None and manifest.format_version != FORMAT_VERSION:
        raise UsageError(
            f"{directory.root.name} was begun by an older trace-timing",
            why=f"its format version is {manifest.format_version}, not {FORMAT_VERSION}",
            remedy="analyze it as it is, and capture into another directory",
        )


def finished(directory: CaptureDirectory, *, together: int = 1) -> set[GroupKey]:
    """The recorded runs and the controls of samples that at least `together` ranks have finished.

    Controls are finished if as many are ok as were planned, not counting bare ones. Runs of other
    ranks are included, so that a resume with other ranks repeats nothing.
    """
    ranks: Counter[GroupKey] = Counter()
    for path in sorted(directory.root.glob("runs.rank*.jsonl")):
        ranks.update(_finished_groups(directory, read_records(path)))
    return {key for key, count in ranks.items() if count >= together}


def read_records(path: Path) -> list[RunRecord]:
    """The records of one file, without a torn last line that a kill may leave."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [decode_run_record(line, source=path.name) for line in lines if line]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    try:
        atomic_write.write_whole(path, data)
    except OSError as error:
        raise refused(error, path) from error


def sha256(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def refused(error: OSError, path: Path) -> StorageError:
    """The error for a write that the system refused."""
    if error.errno in _FULL_DISK:
        return StorageError(
            "the disk is full",
            why=f"writing {path.name}: {error.strerror}; all runs before it are stored",
            remedy="free some space (or choose --keep store) and go on with --resume",
        )
    return StorageError(
        f"cannot write {path}",
        why=str(error.strerror),
        remedy="give a directory that can be written",
    )


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _is_whole(directory: CaptureDirectory, record: RunRecord) -> bool:
    if record.trace is None:
        return True
    name = record.trace
    return all(directory.trace_path(name, ending).exists() for ending in record.sha256)


def _finished_groups(directory: CaptureDirectory, lines: Iterable[RunRecord]) -> set[GroupKey]:
    """The groups of which all records are there and ok."""
    done: set[GroupKey] = set()
    missing: dict[GroupKey, int] = {}
    for record in lines:
        key = _group(record)
        if record.status != "ok":
            continue
        if record.role == "recorded" and _is_whole(directory, record):
            done.add(key)
        elif record.control is not None and not record.control.bare:
            planned = record.machine.get("planned_controls", 1)
            missing[key] = missing.get(key, planned) - 1
    return done | {key for key, number in missing.items() if number <= 0}


def _group(record: RunRecord) -> GroupKey:
    return record.role, record.sample_id, record.repeat


def _mend(directory: CaptureDirectory, together: int) -> None:
    lines = read_records(directory.runs)
    # Runs that not all ranks have are made again by all of them.
    done = finished(directory, together=together) & _finished_groups(directory, lines)
    kept = [r for r in lines if r.status == "ok" and _group(r) in done]
    write_whole(directory.runs, b"".join(encode(record) + b"\n" for record in kept))
    _remove_unnamed(directory, kept)


def _remove_unnamed(directory: CaptureDirectory, kept: Iterable[RunRecord]) -> None:
    named = {f"{record.trace}.{ending}" for record in kept for ending in record.sha256}
    for path in directory.traces.glob(f"*.k{directory.rank}.*"):
        if path.name not in named:
            path.unlink()
