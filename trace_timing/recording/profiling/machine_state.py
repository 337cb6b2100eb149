"""Read the machine's state around a run: allocator, memory, clocks, heat, other processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class MachineWatch:
    """Reads the state before and after each run; never during one.

    Without nvidia-ml-py or an answering driver, the device figures are replaced by the reason.
    """

    def __init__(self) -> None:
        self._nvml, self._missing = _open_nvml()
        self._handles = self._find_devices() if self._nvml else {}

    def read(self) -> dict[str, Any]:
        """One reading: `rss_bytes`, and by device index allocator and NVML figures."""
        state: dict[str, Any] = {"rss_bytes": resident_bytes()}
        if torch.cuda.is_available():
            state["devices"] = [self._device(i) for i in range(torch.cuda.device_count())]
        return state

    def _device(self, index: int) -> dict[str, Any]:
        figures: dict[str, Any] = {**_allocator(index)}
        if index in self._handles:
            figures |= self._nvml_figures(self._handles[index])
        else:
            figures["nvml_missing"] = self._missing or "the driver does not list this device"
        return figures

    def _find_devices(self) -> dict[int, Any]:
        handles = {}
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
            try:
                handles[index] = (
                    self._nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
                    if uuid is not None
                    else self._nvml.nvmlDeviceGetHandleByIndex(index)
                )
            except self._nvml.NVMLError as error:
                self._missing = str(error)
        return handles

    def _nvml_figures(self, handle: Any) -> dict[str, Any]:
        """Clocks, temperature, power and other processes of a device, by NVML."""
        nvml = self._nvml
        readings = {
            "sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(
                handle, nvml.NVML_TEMPERATURE_GPU
            ),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "throttle_reasons": lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
            "other_processes": lambda: _others(nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        }
        return {name: self._tried(reading) for name, reading in readings.items()}

    def _tried(self, reading: Any) -> Any:
        # A figure that this board, container or binding lacks is null; the others are still read.
        try:
            return reading()
        except (self._nvml.NVMLError, AttributeError):
            return None


def host_load(proc: Path = Path("/proc")) -> dict[str, float | int | None]:
    """How busy the host is; None for figures that the system does not report.

    `load_1m`: load average of the last minute. `psi_cpu_some_10s`: percent of the last ten seconds
    in which some task waited for a processor. `steal_ticks`: time that a hypervisor gave to other
    machines since boot, over all processors (1/100 s each).
    """
    return {
        "load_1m": _tried_number(lambda: float((proc / "loadavg").read_text().split()[0])),
        "psi_cpu_some_10s": _tried_number(lambda: _pressure(proc / "pressure" / "cpu")),
        "steal_ticks": _tried_number(lambda: int((proc / "stat").read_text().split()[8])),
    }


def _pressure(path: Path) -> float:
    some = next(line for line in path.read_text().splitlines() if line.startswith("some"))
    return float(some.split("avg10=")[1].split()[0])


def _tried_number(read: Callable[[], float | int]) -> float | int | None:
    try:
        return read()
    except (OSError, IndexError, ValueError, StopIteration):
        return None


def resident_bytes() -> int | None:
    """Bytes of this process in RAM; None where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _allocator(index: int) -> dict[str, int]:
    stats = torch.cuda.memory_stats(index)
    return {
        "allocated_bytes": stats.get("allocated_bytes.all.current", 0),
        "allocated_peak_bytes": stats.get("allocated_bytes.all.peak", 0),
        "reserved_bytes": stats.get("reserved_bytes.all.current", 0),
        "alloc_retries": stats.get("num_alloc_retries", 0),
        "device_allocs": stats.get("num_device_alloc", 0),
    }


def _others(processes: list[Any]) -> int:
    return sum(process.pid != os.getpid() for process in processes)


def _open_nvml() -> tuple[Any, str | None]:
    try:
        import pynvml
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, str(error)
    return pynvml, None
