"""Switch recording off and on within a profiler session, by CUPTI's kinds of activity.

`cuptiActivityDisable` and `cuptiActivityEnable`, called on the libcupti that torch has loaded. On
an H200 with CUDA 13.0: 47 to 59 µs off, 80 to 93 µs on, no synchronisation, and every launch that
was recorded has its op. Kineto's session goes on meanwhile, so host ranges are recorded throughout.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch

from trace_timing.recording.profiling.detach import loaded_cupti

#: CUpti_ActivityKind by name in cupti_activity.h, in the order of switching off. Kernels and copies
#: first, so that no op is recorded without its launch.
KINDS = {
    "CONCURRENT_KERNEL": 10,
    "MEMCPY": 1,
    "MEMSET": 2,
    "RUNTIME": 5,
    "DRIVER": 4,
    "EXTERNAL_CORRELATION": 39,
}
NO_GPU = "there is no NVIDIA GPU, so nothing but host ranges is recorded"
ROCM = "no way to switch ROCm's profiler off within a session is known"
NOT_LOADED = "torch has loaded no libcupti that could be switched off and on"


class RecordingSwitch(Protocol):
    """Switches the recording of API calls and GPU ops, for the whole process."""

    def off(self) -> bool:
        """Stop recording; False where that failed."""

    def on(self) -> bool:
        """Record again; False where that failed."""


class CuptiSwitch:
    """The switch of a process that profiles with CUPTI.

    Args:
        cupti: the loaded library, whose functions return 0 for success.
    """

    def __init__(self, cupti: Any) -> None:
        self._disable, self._enable = cupti.cuptiActivityDisable, cupti.cuptiActivityEnable
        for call in (self._disable, self._enable):
            call.restype, call.argtypes = ctypes.c_int, (ctypes.c_int,)

    def off(self) -> bool:
        """Disable every kind."""
        codes = [self._disable(kind) for kind in KINDS.values()]  # all, whatever one returns
        return not any(codes)

    def on(self) -> bool:
        """Enable every kind, calls before ops, so that every recorded op has its launch."""
        codes = [self._enable(kind) for kind in reversed(KINDS.values())]
        return not any(codes)


@lru_cache(maxsize=1)
def switch_of_process() -> tuple[RecordingSwitch | None, str | None]:
    """The switch, or None and why there is none."""
    if torch.version.hip is not None:
        return None, ROCM
    if not torch.cuda.is_available():
        return None, NO_GPU
    path = loaded_cupti()
    switch = None if path is None else switch_in(path)
    return switch, None if switch else NOT_LOADED


def switch_in(path: Path) -> CuptiSwitch | None:
    """The switch by the loaded libcupti; None where it is not loaded or lacks the functions."""
    try:
        return CuptiSwitch(ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD))
    except (OSError, AttributeError):
        return None
