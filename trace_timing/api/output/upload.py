"""Outputs to a folder, as a whole, or to any file system that fsspec knows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from trace_timing.api.output.output_folder import PARTS, files_of, seal, told, whole
from trace_timing.errors import UsageError
from trace_timing.lock import locked


@dataclass(frozen=True)
class Delivery:
    """Where to write an output that goes somewhere else as a whole."""

    folder: Path
    #: Where results of single traces are kept until all are there.
    parts: Path
    #: Where the files will be; None for a URL.
    place: Path | None = None


@contextmanager
def delivered(output: str, *, in_place: bool = False) -> Iterator[Delivery]:
    """A folder to write to, whose files go to a path or URL when the block ends well.

    To a path they go all or none (`output_folder.whole`), to a URL one by one, the summary last.

    Args:
        in_place: as for `output_folder.whole`.
    Raises:
        UsageError: the path or URL cannot be written to.
    """
    if "://" not in output:
        place = Path(output)
        with whole(place, in_place=in_place) as folder:
            yield Delivery(folder, place / PARTS, place)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield Delivery(folder, folder / PARTS)
        seal(folder)
        _upload(folder, output)


@contextmanager
def exclusive(output: str) -> Iterator[None]:
    """Keep other analyses from writing into a folder; of a URL nobody can be kept out.

    Raises:
        UsageError: another analysis is writing into it, or it cannot be written.
    """
    with ExitStack() as held:
        if "://" not in output:
            place = Path(output)
            with told(place):
                held.enter_context(_locked(place.resolve(), output))
        yield


def _locked(real: Path, output: str) -> AbstractContextManager[None]:
    """The lock of an output folder: beside it, for the folder itself is replaced.

    Where nothing can be written beside it, the folder is written in place, and the lock is in it.
    """
    real.parent.mkdir(parents=True, exist_ok=True)
    inside = real.is_dir() and not os.access(real.parent, os.W_OK)
    path = real / ".lock" if inside else real.with_name(f".{real.name}.lock")
    return locked(path, work="analyze", directory=output)


def _upload(folder: Path, url: str) -> None:
    import fsspec

    try:
        fs, inner = fsspec.core.url_to_fs(url)
        fs.makedirs(inner, exist_ok=True)
        for name in files_of(folder):
            place = f"{inner.rstrip('/')}/{name}"
            fs.makedirs(place.rpartition("/")[0], exist_ok=True)
            fs.put_file(str(folder / name), place)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(
            f"{url}: cannot be written",
            why=str(error) or type(error).__name__,
            remedy="Check the URL and its permissions, or give a local folder with -o.",
        ) from error
