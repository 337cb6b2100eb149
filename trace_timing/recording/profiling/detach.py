"""Detach CUPTI from the process after a profiler session, and verify that by launch costs.

Once a process has profiled, all its CUDA calls are slower until `cuptiFinalize` (on an H200 decode
steps ×1.20 to ×1.25 without a session running). A session after a detach records as much as the
first. A CUDA graph replayed inside a session and again after a detach ends the context
("unspecified launch failure"), so CUPTI is not detached where graphs are replayed.

CUPTI belongs to the process: two captures of one process share one `CuptiAttachment`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trace_timing.recording.profiling.launch_probe import (
    LaunchCosts,
    LaunchProbe,
    LaunchRatio,
    probe_of,
    ratio_of,
)
from trace_timing.records.runs import CuptiState

#: How far launch costs after a detach ÷ those before the first session may be from 1, by both ends
#: of the interval.
TOLERANCE = 0.03
#: Blocks of launches before the first session, with which later measurements are compared: about
#: 2 s.
BEFORE_BLOCKS = 600
#: Fewest blocks after a detach, about 1 s: medians of 0.3 s were seen 2 % apart.
AFTER_BLOCKS = 270
#: Most detaches whose effect is measured (up to 4 s each) until one is shown to work.
ATTEMPTS = 5
#: From this ratio on, lower end of its interval, launches after a session are measured no longer:
#: an attached CUPTI makes them 1.35 to 1.5 times as dear.
PLAINLY_DEARER = 1.1
#: Most return codes in the manifest; a capture makes one detach a sample.
_MOST_CODES = 20
NO_GPU = "there is no NVIDIA GPU, so CUPTI is not used"
ROCM = "no way to detach ROCm's profiler is known"
NOT_LOADED = "torch has loaded no libcupti that could be detached"
GRAPHS_SEEN = "CUDA graphs are replayed (seen while warming up): one replayed again after a detach "
GRAPHS_SEEN += "may end the CUDA context"
GRAPHS_RECORDED = "a session recorded CUDA graphs: one replayed again after a detach may end the "
GRAPHS_RECORDED += "CUDA context"
NOT_SHOWN = "no detach was shown to work: launches were not seen to cost what they did before the "
NOT_SHOWN += "first session"
UNREAD = "what a session recorded could not be read, so it may hold CUDA graphs"


class CuptiAttachment:
    """Whether CUPTI is attached to this process, and the means to detach it.

    Args:
        probe: measures launch costs; None without a GPU, where CUPTI is never used.
        finalize: detaches CUPTI and returns its return code, 0 for success.
        why_not: why a detach is impossible; if given, `finalize` is not called.
    """

    def __init__(
        self,
        probe: LaunchProbe | None,
        finalize: Callable[[], int] | None = None,
        why_not: str | None = None,
    ) -> None:
        self.probe = probe
        self._finalize = finalize
        self._why_not = why_not
        self._is_used = self._is_attached = False
        #: Whether launches were dearer after a session: else no cost shows that CUPTI is off.
        self._is_telling = False
        self._works: bool | None = None
        self._sessions_measured = self._detaches_measured = 0
        self._codes: list[int] = []
        self._before: LaunchCosts | None = None
        self._attached: LaunchCosts | None = None
        self._detached: LaunchCosts | None = None

    @property
    def state(self) -> CuptiState:
        """CUPTI's state for a run made now without a profiler."""
        if not self._is_used:
            return "never"
        return "detached" if self._works and not self._is_attached else "attached"

    @property
    def why_not(self) -> str | None:
        """Why CUPTI cannot be detached; None where it may be possible."""
        return self._why_not

    @property
    def works(self) -> bool | None:
        """Whether a detach was shown to work; None before any was tried."""
        return self._works

    def forbid(self, why: str) -> None:
        """Do not detach any more: a graph replayed under CUPTI may be replayed again."""
        if self._why_not is None:
            self._why_not = why

    def before_session(self) -> None:
        """To be called before each session: measures launch costs before the process's first."""
        if self.probe is None:
            return
        if not self._is_used:
            self._before = self.probe.blocks(lambda costs: len(costs) >= BEFORE_BLOCKS)
        self._is_used = self._is_attached = True

    def after_session(self) -> None:
        """To be called after each session: measures launch costs after the process's first.

        Again after a detach that could not be shown because they were no dearer.
        """
        is_measured = self._is_telling or self._sessions_measured > self._detaches_measured
        if self.probe is None or is_measured:
            return
        self._sessions_measured += 1
        # Nothing can be compared while other work slows the host, so this may take its whole time.
        self._attached = self.probe.blocks(
            lambda costs: _is_dearer(self._ratio(costs), PLAINLY_DEARER)
        )
        self._is_telling = _is_dearer(self._ratio(self._attached), 1 + TOLERANCE)

    def detach(self) -> None:
        """Detach CUPTI if possible, and measure whether it is off, until that was shown once.

        The device must be idle. A return code other than 0 leaves CUPTI attached.
        """
        if self._finalize is None or self._why_not is not None or not self._is_attached:
            return
        code = self._finalize()
        self._codes.append(code)
        if code != 0:
            return
        self._is_attached = False
        if not self._works and self._detaches_measured < ATTEMPTS:
            self._detaches_measured += 1
            self._works = self._is_shown()

    def summary(self) -> dict[str, Any]:
        """For the manifest: detaches and their return codes, and the launch costs (ns)."""
        return {
            "possible": self._why_not is None,
            "why_not": self._why_not,
            "detaches": len(self._codes),
            "failed": sum(code != 0 for code in self._codes),
            "return_codes": self._codes[:_MOST_CODES],
            "before_ns": _cost(self._before),
            "attached_ns": _cost(self._attached),
            "detached_ns": _cost(self._detached),
            "ratio": _told(self._ratio(self._detached)),
            "attached_ratio": _told(self._ratio(self._attached)),
            "works": self._works,
        }

    def _is_shown(self) -> bool:
        """Whether launches cost as much as before the first session, and more after one."""
        if self.probe is None or not self._is_telling:
            return False
        # The machine may have slow moments, in which launches cost more: measure on.
        self._detached = self.probe.blocks(
            lambda costs: len(costs) >= AFTER_BLOCKS and _is_equal(self._ratio(costs))
        )
        return _is_equal(self._ratio(self._detached))

    def _ratio(self, costs: LaunchCosts | None) -> LaunchRatio | None:
        """Launch costs ÷ those before the first session; None where they cannot be compared."""
        if costs is None or self._before is None:
            return None
        return ratio_of(costs, self._before)


def _is_dearer(ratio: LaunchRatio | None, least: float) -> bool:
    return ratio is not None and ratio.low > least


def _is_equal(ratio: LaunchRatio | None) -> bool:
    return ratio is not None and ratio.low >= 1 - TOLERANCE and ratio.high <= 1 + TOLERANCE


def _told(ratio: LaunchRatio | None) -> dict[str, float] | None:
    return None if ratio is None else ratio.as_dict()


def _cost(costs: LaunchCosts | None) -> float | None:
    return None if costs is None else round(costs.median_ns(), 1)


_of_process: list[CuptiAttachment] = []


def attachment_of_process(device: Any = None) -> CuptiAttachment:
    """The attachment shared by all captures of this process.

    Args:
        device: CUDA device on which the first call's probe measures launch costs; None for the
            current one.
    """
    if not _of_process:
        _of_process.append(_attachment(device))
    return _of_process[0]


def _attachment(device: Any) -> CuptiAttachment:
    import torch

    if not torch.cuda.is_available():
        return CuptiAttachment(None, why_not=NO_GPU)
    probe = probe_of(device or torch.device("cuda", torch.cuda.current_device()))
    if torch.version.hip is not None:
        return CuptiAttachment(probe, why_not=ROCM)
    path = loaded_cupti()
    finalize = None if path is None else finalizer(path)
    return CuptiAttachment(probe, finalize, None if finalize else NOT_LOADED)


def loaded_cupti(maps: Path = Path("/proc/self/maps")) -> Path | None:
    """Path of the libcupti loaded in this process; None where none is, or it cannot be seen."""
    try:
        lines = maps.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith("libcupti.so"):
            return path
    return None


def finalizer(path: Path) -> Callable[[], int] | None:
    """`cuptiFinalize` of the loaded libcupti, which returns 0 for success.

    None where the library is not loaded or lacks the function. It is never loaded for this: a
    second copy of CUPTI would detach nothing.
    """
    try:
        call = ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD).cuptiFinalize
    except (OSError, AttributeError):
        return None
    call.restype, call.argtypes = ctypes.c_int, ()
    return lambda: int(call())
