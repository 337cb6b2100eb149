"""The capture directory: manifest, one file of run records a rank, traces; whole at any instant.

Everything but the run records is written beside its place and renamed into it. Records are
appended in one write per group, after the traces that they name, so a process killed at any
instant leaves at worst a torn last line and files that no record names; opening with `resume`
drops both.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trace_timing import records
from trace_timing.errors import CaptureError, UsageError
from trace_timing.records import Manifest, Role, RunRecord

#: What a file is called while it is written; never read, removed on resume.
PARTIAL = ".partial"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Identity of a run: sample, role, repeat, rank, which of the controls of one repeat, and whether
#: it was taken before any profiling.
RunKey = tuple[str, Role, int, int, int, bool]
#: A profiled run and its controls: sample, repeat, rank.
GroupKey = tuple[str, int, int]
#: Sample and repeat.
RepeatKey = tuple[str, int]


class StorageError(CaptureError):
    """The system refused a write: no other sample would fare better, so the capture stops."""


def run_key(record: RunRecord) -> RunKey:
    """What makes a run the same run after a resume."""
    control = record.control
    index, early = (control.index, control.before_profiling) if control else (0, False)
    return record.sample_id, record.role, record.repeat, record.rank, index, early


@dataclass(frozen=True)
class CaptureDirectory:
    """An open capture directory, as one rank sees it."""

    root: Path
    rank: int = 0

    @property
    def traces(self) -> Path:
        """Where trace files are."""
        return self.root / records.TRACES_DIR

    @property
    def runs(self) -> Path:
        """This rank's run records."""
        return self.root / records.runs_name(self.rank)

    @property
    def manifest(self) -> Path:
        """The manifest, written by rank 0 alone."""
        return self.root / records.MANIFEST_NAME

    def trace_path(self, name: str, ending: str) -> Path:
        """Where the trace `name` lies: `ending` is "json.gz" or "parquet"."""
        return self.traces / f"{name}.{ending}"

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest; readers see the old or the new one, whole."""
        write_whole(self.manifest, records.encode(manifest))

    def read_manifest(self) -> Manifest | None:
        """The manifest, or None where there is none yet."""
        if not self.manifest.exists():
            return None
        return records.decode_manifest(self.manifest.read_bytes(), source=str(self.manifest))

    def append(self, group: Sequence[RunRecord]) -> None:
        """Append the records of one group (a profiled run and its controls) in one write."""
        data = b"".join(records.encode(record) + b"\n" for record in group)
        before = self.runs.stat().st_size if self.runs.exists() else 0
        try:
            with self.runs.open("ab", buffering=0) as file:
                _write_all(file.fileno(), data)
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.runs, before)
            raise refused(error, self.runs) from error


def open_directory(
    root: Path, *, rank: int = 0, together: int = 1, resume: bool = False
) -> CaptureDirectory:
    """A capture directory to write in.

    With `resume` torn lines and unfinished groups of this rank are dropped, so that they are
    recorded again, and its files that no record names are removed.

    Args:
        together: how many ranks record each run (tensor parallel); 1 where they share samples out.
    Raises:
        UsageError: it holds this rank's records already and `resume` was not asked for.
        StorageError: it cannot be written.
    """
    directory = CaptureDirectory(root, rank)
    try:
        directory.traces.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(error, directory.traces) from error
    if directory.runs.exists() and not resume:
        raise UsageError(
            f"{root} holds a capture already",
            why=f"{directory.runs.name} is there",
            remedy="add --resume to go on with it, or give another directory",
        )
    if resume:
        _mend(directory, together)
    return directory


def finished(directory: CaptureDirectory, *, together: int = 1) -> set[RepeatKey]:
    """The repeats of samples that are done, by `together` ranks at least.

    A sample done by another rank is found too, so a resume with other ranks repeats none.
    """
    ranks: Counter[RepeatKey] = Counter()
    for path in sorted(directory.root.glob("runs.rank*.jsonl")):
        for sample_id, repeat, _ in _finished_groups(directory, read_records(path)):
            ranks[sample_id, repeat] += 1
    return {key for key, count in ranks.items() if count >= together}


def read_records(path: Path) -> list[RunRecord]:
    """The records of one file; a last line without its end, left by a kill, is not one."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [records.decode(line, RunRecord, source=path.name) for line in lines if line]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it into it.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise refused(error, path) from error


def sha256(path: Path) -> str:
    """Of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def refused(error: OSError, path: Path) -> StorageError:
    """What to tell the user of a write that the system refused."""
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
    planned: dict[GroupKey, int] = {}
    counts: Counter[GroupKey] = Counter()
    for record in lines:
        if record.status != "ok":
            continue
        if record.role == "profiled" and _is_whole(directory, record):
            planned[_group(record)] = record.machine.get("session", {}).get("controls", 0)
        elif record.control is not None and not record.control.before_profiling:
            counts[_group(record)] += 1
    return {group for group, controls in planned.items() if counts[group] >= controls}


def _group(record: RunRecord) -> GroupKey:
    return record.sample_id, record.repeat, record.rank


def _mend(directory: CaptureDirectory, together: int) -> None:
    lines = read_records(directory.runs)
    # What a rank has alone is made again by all: their files change, what all have does not.
    common = finished(directory, together=together)
    own = _finished_groups(directory, lines)
    kept = [r for r in lines if _group(r) in own and (r.sample_id, r.repeat) in common]
    write_whole(directory.runs, b"".join(records.encode(record) + b"\n" for record in kept))
    _remove_unnamed(directory, kept)


def _remove_unnamed(directory: CaptureDirectory, kept: Iterable[RunRecord]) -> None:
    named = {f"{record.trace}.{ending}" for record in kept for ending in record.sha256}
    for path in directory.traces.glob(f"*.k{directory.rank}.*"):
        if path.name not in named:
            path.unlink()
