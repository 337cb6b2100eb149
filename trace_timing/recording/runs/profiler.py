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
        """Stop recording; the caller has waited for all device work."""

    def save(self, path: Path) -> None:
        """Write what the last session recorded as Kineto JSON."""


class ScopedSession:
    """Kineto by the private interface that `torch.profiler` itself uses, with selected scopes.

    `ranges` records user scopes and device activity without CPU ops, for which the public API has
    no option. torch 2.4 to 2.13 have the interface; `available` checks.
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
        """Write the trace, then free it at once, not only at the next session."""
        result, self._result = self._result, None
        result.save(os.fspath(path))


class PublicSession:
    """`torch.profiler.profile`, for a torch without the private interface; records CPU ops too."""

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
        """Write the trace, then free it."""
        profile, self._profile = self._profile, None
        profile.export_chrome_trace(os.fspath(path))


def open_session(mode: ProfileMode) -> tuple[ProfilerSession, Backend]:
    """The session for a mode, and by which interface, for the manifest."""
    kineto_log.silence()
    if available():
        return ScopedSession(mode), "private"
    return PublicSession(), "public"


def available() -> bool:
    """Whether this torch has the private interface of `ScopedSession`, by trying it."""
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
