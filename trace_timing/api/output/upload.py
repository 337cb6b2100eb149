"""Write outputs to a folder, as a whole, or upload them to any file system that fsspec knows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from trace_timing.api.output.output_folder import PARTS, explained, files_of, seal, whole
from trace_timing.errors import UsageError
from trace_timing.lock import locked


@dataclass(frozen=True)
class Delivery:
    """Temporary folders of an output, and its destination."""

    folder: Path
    #: Folder for the results of single traces until all are done.
    parts: Path
    #: Destination of the files; None for a URL.
    place: Path | None = None


@contextmanager
def delivered(output: str, *, in_place: bool = False) -> Iterator[Delivery]:
    """A temporary folder, whose files go to a path or URL when the block ends without error.

    To a path they go all or none (`output_folder.whole`), to a URL one by one, the summary last.

    Args:
        in_place: as in `output_folder.whole`.
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
    """Lock an output folder against other analyses; a URL cannot be locked.

    Raises:
        UsageError: another analysis is writing into it, or it cannot be written.
    """
    with ExitStack() as held:
        if "://" not in output:
            place = Path(output)
            with explained(place):
                held.enter_context(_locked(place.resolve(), output))
        yield


def _locked(real: Path, output: str) -> AbstractContextManager[None]:
    """Lock an output folder by a file beside it, since the folder itself may be replaced.

    If nothing can be written beside it, the output is written in place, and the lock is inside.
    """
    real.parent.mkdir(parents=True, exist_ok=True)
    inside = real.is_dir() and not os.access(real.parent, os.W_OK)
    path = real / ".lock" if inside else real.with_name(f".{real.name}.lock")
    return locked(path, work="analyze", directory=output)


def _upload(folder: Path, url: str) -> None:
    """Copy every file to the URL, the summary last."""
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
