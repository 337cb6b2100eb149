"""Output folders that change as a whole or not at all.

Everything is written into a temporary folder beside the destination. Then:

1. if the destination does not exist, the folder is renamed to it;
2. if it is an earlier output and nothing else, the two folders are exchanged in one step;
3. if it has other files too, or is a mount point or the working directory, the folder is renamed
   into it as `.<id>.swap`, which commits it, and its files replace the old ones one by one. After a
   kill in between, the next reader or writer completes this (`finish`). For about a millisecond
   other programs may see files of both outputs; `summary.json` has a digest of every file, by which
   `read_verified` detects that.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from trace_timing import schema
from trace_timing.atomic_write import holding, remove_abandoned, sync
from trace_timing.errors import UsageError

SUMMARY = "summary.json"
REPORT = "report.html"
ANNOTATED = "annotated"
ANNOTATED_ENDING = ".annotated.json.gz"
PARTS = ".parts"
#: Files that analyze writes, and removes if a later analysis does not write them, because old ones
#: would lie beside new tables. Files of training rows were requested by name and stay.
_OURS = frozenset(
    (
        *(SUMMARY, REPORT, "samples.csv", "summaries.csv", "step_summary.csv"),
        *(schema.file_of(name) for name in schema.TABLES),
        # Places of tables in older versions, before `why/`.
        *(f"{name}.parquet" for name in schema.TABLES),
    )
)
_REMOVED = ".removed.json"
SWAP = ".swap"
_WRITING, _PARTIAL = ".writing", ".partial"
_TRIES, _BETWEEN_S = 5, 0.1


@contextmanager
def whole(place: Path, *, in_place: bool = False) -> Iterator[Path]:
    """A temporary folder, whose files go to `place` together when the block ends without error.

    Args:
        in_place: keep the folder `place` itself, which a server or a shell may have open.
    Raises:
        UsageError: `place` is a file or cannot be written, or the disk is full; its earlier content
            is unchanged.
    """
    with explained(place):
        real = _made_ready(place)
        staging = _beside(real)
    try:
        with explained(place), holding(staging):
            yield staging
            seal(staging)
            _sync_all(staging)
            _put(staging, real, in_place=in_place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn an OSError of writing an output into an error with a remedy.

    Raises:
        UsageError: for an OSError in the block that is about writing to `place` or beside it.
    """
    try:
        yield
    except OSError as error:
        parents = (place.absolute().parent, place.resolve().parent)
        named = error.filename
        if isinstance(named, str) and not any(Path(named).is_relative_to(p) for p in parents):
            raise
        what, remedy = "cannot be written", "give a folder that you may write to with -o"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            what = "the disk is full"
            remedy = "free some space or give another place with -o; nothing there was changed"
        raise UsageError(f"{place}: {what}", why=_why(error), remedy=remedy) from error


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _made_ready(place: Path) -> Path:
    """The real path of a folder to write to, after removing remains of killed runs."""
    real = place.resolve()
    if real.exists() and not real.is_dir():
        raise UsageError(
            f"{place}: is a file", why="the output is a folder", remedy="give a folder with -o"
        )
    real.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(real.parent.glob(f".{real.name}.*{_WRITING}"))
    if real.is_dir():
        finish(real)
        remove_abandoned(real.glob(f".*{_WRITING}"))
        remove_abandoned(p for p in real.glob(f"*{_PARTIAL}") if _of(p.name) in _OURS)
        if not os.access(real, os.W_OK):
            fixed = hasattr(os, "statvfs") and os.statvfs(real).f_flag & os.ST_RDONLY
            number = errno.EROFS if fixed else errno.EACCES
            raise OSError(number, os.strerror(number))
    return real


def _of(partial: str) -> str:
    """The destination of a temporary file: samples.csv for .samples.csv.….partial."""
    name = partial.removeprefix(".").removesuffix(_PARTIAL)
    return name if name in _OURS else name.rpartition(".")[0]


def _beside(real: Path) -> Path:
    """A new folder on the same file system: beside the destination, else in it."""
    number = uuid.uuid4().hex
    beside = real.with_name(f".{real.name}.{number}{_WRITING}")
    try:
        beside.mkdir()
        if not real.exists() or beside.stat().st_dev == real.stat().st_dev:
            return beside
        beside.rmdir()
    except OSError:
        if not real.exists():
            raise
    inside = real / f".{number}{_WRITING}"
    inside.mkdir()
    return inside


def seal(staging: Path) -> dict[str, Any]:
    """Add the digests of all files to the summary, and return the summary."""
    summary = staging / SUMMARY
    if not summary.is_file():
        return {}
    content: dict[str, Any] = json.loads(summary.read_bytes())
    content["files"] = {
        name: digest((staging / name).read_bytes()) for name in files_of(staging) if name != SUMMARY
    }
    summary.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
    return content


def digest(data: bytes) -> str:
    """BLAKE2b of a file's bytes, 16 bytes in hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def files_of(folder: Path) -> list[str]:
    """Every file of an output by its path from there, the summary last."""
    paths = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    names = [path.as_posix() for path in paths if path.parts[0] != PARTS]
    return sorted(names, key=lambda name: (name == SUMMARY, name))


def _sync_all(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        sync(path)


def _put(staging: Path, real: Path, *, in_place: bool) -> None:
    """Bring the finished folder to its destination, by the first possible case of the module's."""
    if not real.exists():
        staging.rename(real)
        sync(real.parent)
        return
    with holding(real):
        if not in_place and _is_all_ours(real, staging) and _exchange(staging, real):
            if (staging / PARTS).is_dir():  # the old folder is where the new one was
                (staging / PARTS).rename(real / PARTS)
            sync(real.parent)
            return
        (staging / _REMOVED).write_text(json.dumps(_outdated(real, staging)))
        sync(staging / _REMOVED)
        swap = real / f".{uuid.uuid4().hex}{SWAP}"
        staging.rename(swap)
        sync(real)
        _roll(swap, real)


def finish(place: Path) -> None:
    """Complete a committed output whose writer was killed while moving its files."""
    for swap in sorted(place.glob(f".*{SWAP}")):
        with holding(place):
            if swap.is_dir():
                _roll(swap, place)


def _roll(swap: Path, real: Path) -> None:
    """Move every file of a committed folder to its destination. Can be repeated from any point."""
    removed = swap / _REMOVED
    names = json.loads(removed.read_text()) if removed.is_file() else []
    for name in files_of(swap):
        if name != _REMOVED:
            target = real / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (swap / name).replace(target)
    for name in names:
        (real / name).unlink(missing_ok=True)
    for folder in (ANNOTATED, schema.WHY_FOLDER):
        with suppress(OSError):
            (real / folder).rmdir()  # where nothing is left in it
    sync(real)
    shutil.rmtree(swap)


def _outdated(real: Path, staging: Path) -> list[str]:
    """Our files in the destination that are not among the new ones."""
    if not (staging / SUMMARY).is_file():
        return []
    there = [name for name in _OURS if (real / name).is_file()]
    there += [p.relative_to(real).as_posix() for p in _annotated(real)]
    return sorted(set(there) - set(files_of(staging)))


def _annotated(real: Path) -> list[Path]:
    return [p for p in (real / ANNOTATED).glob(f"*{ANNOTATED_ENDING}") if p.is_file()]


def _is_all_ours(real: Path, staging: Path) -> bool:
    """Whether the whole folder may be replaced: it holds only outputs of ours that are renewed."""
    if not (staging / SUMMARY).is_file() or staging.parent != real.parent:
        return False
    if os.path.ismount(real) or Path.cwd().is_relative_to(real):
        return False
    new = set(files_of(staging))
    for path in real.iterdir():
        if path.is_symlink():
            return False
        if path.name == ANNOTATED and path.is_dir():
            if len(list(path.iterdir())) != len(_annotated(real)):
                return False
        elif path.name == schema.WHY_FOLDER and path.is_dir():
            if not all(f"{path.name}/{file.name}" in _OURS for file in path.iterdir()):
                return False
        elif path.name != PARTS and not (path.is_file() and path.name in _OURS | new):
            return False
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where system or file system cannot."""
    about = other.stat()
    made = one.stat()
    if (about.st_uid, about.st_gid) != (made.st_uid, made.st_gid):
        return False
    try:
        one.chmod(stat.S_IMODE(about.st_mode))
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: linux/fcntl.h, linux/fs.h
    done: int = rename(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return done == 0


def read_verified(place: Path, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a summary, and files verified to be of the same analysis.

    Older reports, whose `summary.json` has no digests, are read unverified.

    Args:
        names: of the files, in `place`.
    Raises:
        UsageError: a file is missing, or its digest is not the summary's.
    """
    wrong = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_BETWEEN_S)  # it is being replaced just now
        with suppress(PermissionError):
            finish(place)
        content, files, wrong = _read(place, names)
        if not wrong:
            return content, files
    raise UsageError(
        f"{place}: its files are not of one analysis",
        why=wrong,
        remedy=f"write them again: trace-timing analyze TRACES -o {place}",
    )


def _read(place: Path, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, bytes], str]:
    """The summary, the files, and what is wrong with them, if anything."""
    summary = place / SUMMARY
    content: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    try:
        if summary.is_file():
            content = json.loads(summary.read_bytes())
        for name in names:
            files[name] = (place / name).read_bytes()
    except FileNotFoundError as error:
        return {}, {}, f"there is no {Path(error.filename).name}"
    known = content.get("files")
    for name, data in files.items():
        if known is not None and known.get(name) != digest(data):
            return {}, {}, f"{name} is another than {SUMMARY} is about"
    return content, files, ""
