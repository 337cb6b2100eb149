"""One profiler session around one generate(): start, stop, save."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Literal, Protocol

import torch

from trace_timing.recording.profiling import kineto_log
from trace_timing.records.manifest import ProfileMode

Backend = Literal["private", "public"]


class ProfilerSession(Protocol):
    """A profiler that can be started and stopped any number of times."""

    def start(self) -> None:
        """Begin to record."""

    def stop(self) -> None:
        """End it; all device work was waited for by the caller."""

    def save(self, path: Path) -> None:
        """Write what the last session recorded as Kineto JSON."""


class ScopedSession:
    """Kineto by the way in that `torch.profiler` itself uses, with the scopes it records chosen.

    `ranges` records user scopes and device activity and no CPU ops, which the public API cannot
    ask for. Private in torch, seen there from 2.4 to 2.13 (`available` tells).
    """

    def __init__(self, mode: ProfileMode) -> None:
        from torch._C._profiler import (
            ProfilerActivity,
            ProfilerConfig,
            ProfilerState,
            RecordScope,
            _ExperimentalConfig,
        )

        self._activities = {ProfilerActivity.CPU}
        if torch.cuda.is_available():
            self._activities.add(ProfilerActivity.CUDA)
        self._scopes = {RecordScope.USER_SCOPE} if mode == "ranges" else set()
        plain = (False,) * 5  # shapes, memory, stacks, flops, modules: each slows the host
        self._config: Callable[[], Any] = lambda: ProfilerConfig(
            ProfilerState.KINETO, *plain, _ExperimentalConfig(), ""
        )
        self._result: Any = None

    def start(self) -> None:
        """Begin to record."""
        config = self._config()
        torch.autograd._prepare_profiler(config, self._activities)
        torch.autograd._enable_profiler(config, self._activities, self._scopes)

    def stop(self) -> None:
        """End it."""
        self._result = torch.autograd._disable_profiler()

    def save(self, path: Path) -> None:
        """Write the trace and let go of it: memory must not wait for the next session."""
        result, self._result = self._result, None
        result.save(os.fspath(path))


class PublicSession:
    """`torch.profiler.profile`, for a torch without the private way in: always records CPU ops."""

    def __init__(self) -> None:
        self._activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            self._activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._profile: Any = None

    def start(self) -> None:
        """Begin to record."""
        self._profile = torch.profiler.profile(activities=self._activities)
        self._profile.start()

    def stop(self) -> None:
        """End it."""
        self._profile.stop()

    def save(self, path: Path) -> None:
        """Write the trace and let go of it."""
        profile, self._profile = self._profile, None
        profile.export_chrome_trace(os.fspath(path))


def open_session(mode: ProfileMode) -> tuple[ProfilerSession, Backend]:
    """The session for a mode, and by which way in: the manifest records it."""
    kineto_log.silence()
    if available():
        return ScopedSession(mode), "private"
    return PublicSession(), "public"


def available() -> bool:
    """Whether this torch has the private way in that `ScopedSession` needs, found by trying it."""
    try:
        session = ScopedSession("ranges")
        session._config()
    except (ImportError, AttributeError, TypeError):
        return False
    names = ("_prepare_profiler", "_enable_profiler", "_disable_profiler")
    return all(hasattr(torch.autograd, name) for name in names)


def timed(action: Callable[[], Any]) -> int:
    """Nanoseconds that a call takes."""
    begin = perf_counter_ns()
    action()
    return perf_counter_ns() - begin
