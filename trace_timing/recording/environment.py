"""The environment of a capture: versions and devices, without paths or host name."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import torch

from trace_timing.recording.profiling.detach import loaded_cupti

_PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "triton", "pillow", "numpy")


def describe() -> dict[str, Any]:
    """The manifest's `environment`."""
    return {
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.machine()}",
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        **_device_versions(),
        "devices": _devices(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device_versions() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"cuda": None, "driver": None, "cupti": None}
    return {
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "driver": driver_version(),
        "cupti": cupti_version(),
    }


def driver_version() -> str | None:
    """The NVIDIA driver's version; None without nvidia-ml-py or an answer of the driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:  # the record does without it
        return None


def cupti_version() -> int | None:
    """CUPTI's API version number as its library reports it; None where that is not loaded."""
    import ctypes

    path = loaded_cupti()
    if path is None:
        return None
    version = ctypes.c_uint32()
    try:
        ctypes.CDLL(str(path)).cuptiGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value


def _devices() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [
        {
            "name": one.name,
            "memory_bytes": one.total_memory,
            "compute_capability": f"{one.major}.{one.minor}",
            "multiprocessors": one.multi_processor_count,
        }
        for one in properties
    ]
