"""One writer at a time: a lock file in the directory that is written to, which names its holder.

The kernel's lock on the file decides, where the file system has one (local disks, NFS); it ends
with the process, so that a killed one leaves only the file. Elsewhere the file's content decides:
the lock is free if the holder was on this machine and its process is gone or of an earlier boot. A
holder on another machine cannot be checked.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from trace_timing.errors import UsageError

#: Errors of flock that mean that another process holds the lock.
_HELD = (errno.EACCES, errno.EAGAIN)
_MOST_BYTES = 4096
#: Locks held by this process, for which the kernel's lock may not exclude itself.
_ours: set[Path] = set()
_guard = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The holder of a lock, from the lock file."""

    #: Its command: "capture", "analyze".
    work: str
    pid: int
    host: str
    #: Boot id of the kernel, and start time of the process within it; None where unknown.
    boot: str | None
    began: str | None

    @property
    def is_gone(self) -> bool:
        """Whether it certainly no longer runs."""
        if self.boot is not None and self.boot == _boot():
            # Pids are looked up only on the same host: a container numbers its own.
            return self.host == socket.gethostname() and not _runs(self.pid, self.began)
        return self.host == socket.gethostname() and None not in (self.boot, _boot())


@contextmanager
def locked(path: Path, *, work: str, directory: str) -> Iterator[None]:
    """Hold a lock while the block runs, then delete its file.

    Args:
        path: the lock file, in an existing folder.
        work: the holder's command, for messages of refused processes.
        directory: the locked directory, for messages.
    Raises:
        UsageError: another process, or this one, holds it.
        OSError: the file cannot be written.
    """
    real = path.parent.resolve() / path.name
    me = Holder(
        work=work, pid=os.getpid(), host=socket.gethostname(), boot=_boot(),
        began=_began(os.getpid()),
    )  # fmt: skip
    with _guard:
        if real in _ours:
            raise _refused(me, path, directory)
        descriptor = _taken(real, directory)
        _ours.add(real)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(me) + b"\n", 0)
        yield
    finally:
        with _guard:
            # Deleted before the lock is released, so that nobody takes a file about to be deleted.
            with suppress(OSError):
                real.unlink()
            os.close(descriptor)
            _ours.discard(real)


def _taken(path: Path, directory: str) -> int:
    """A descriptor of the lock file that this process now holds."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            by_kernel = _lock(descriptor)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise _refused(holder, path, directory) from None
        if not _is_at(descriptor, path):  # its holder has just ended and deleted it
            os.close(descriptor)
            continue
        holder = _holder(descriptor)
        same_kernel = by_kernel and holder is not None and holder.boot == _boot() is not None
        if holder is None or same_kernel or holder.is_gone:
            return descriptor
        os.close(descriptor)
        raise _refused(holder, path, directory)


def _lock(descriptor: int) -> bool:
    """Take the kernel's lock; False where the file system has none.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return False
    except OSError as error:
        if error.errno in _HELD:
            raise BlockingIOError from error
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> Holder | None:
    """The holder in the file; None where it is empty or damaged."""
    with suppress(msgspec.MsgspecError, OSError):
        return msgspec.json.decode(os.pread(descriptor, _MOST_BYTES, 0), type=Holder)
    return None


def _refused(holder: Holder | None, path: Path, directory: str) -> UsageError:
    if holder is None:
        who, where = "another process", "remove it if none runs"
    else:
        who = f"{holder.work} of process {holder.pid} on {holder.host}"
        where = "if that process has ended, remove the file"
    return UsageError(
        f"{directory} is being written to by {who}",
        why=f"it holds {path.name} there",
        remedy=f"wait for it, or give another directory; {where}",
    )


@cache
def _boot() -> str | None:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _began(pid: int) -> str | None:
    """Start time of a process in the kernel's ticks, which distinguishes reused pids."""
    with suppress(OSError, IndexError):
        # The name in parentheses may have spaces and any bytes.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[19].decode()
    return None


def _runs(pid: int, began: str | None) -> bool:
    """Whether a process with this pid and start time runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it runs, as another user
    return began is None or _began(pid) in (None, began)
