"""Move the calling thread from core to core, so that other work disturbs only some measurements.

On a shared machine any core is at times slow for seconds, presumably by other work on its second
hardware thread: on hosts of H100s CPU ops then cost 1.7 times and launches 1.4 times as much.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any

PCI_DEVICES = Path("/sys/bus/pci/devices")


def cores_near(device: Any, pci_devices: Path = PCI_DEVICES) -> list[int]:
    """Cores on which this thread may run, of the GPU's own NUMA node where the system tells it.

    A launch from another node crosses the link between them, so its cost would not compare. Empty
    where the system has no such control (macOS, Windows).
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    usable = os.sched_getaffinity(0)
    return sorted(usable & _local_cores(device, pci_devices) or usable)


def _local_cores(device: Any, pci_devices: Path) -> set[int]:
    import torch

    gpu = torch.cuda.get_device_properties(device)
    try:
        domain, bus, slot = gpu.pci_domain_id, gpu.pci_bus_id, gpu.pci_device_id
        listed = (pci_devices / f"{domain:04x}:{bus:02x}:{slot:02x}.0/local_cpulist").read_text()
        return _listed(listed)
    except (AttributeError, OSError, ValueError):  # an older torch, a container without /sys
        return set()


def _listed(text: str) -> set[int]:
    """Numbers of a list in the kernel's form, such as 0-3,8."""
    ends = [part.partition("-") for part in text.strip().split(",")]
    return {core for low, _, high in ends for core in range(int(low), int(high or low) + 1)}


@contextmanager
def from_core_to_core(cores: list[int]) -> Iterator[Callable[[], None]]:
    """Give a function that moves the calling thread to the next of these cores, over and over.

    Afterwards the thread may run where it could before. Without cores nothing is moved. Start no
    threads meanwhile: they would stay on one core.
    """
    if not cores:
        yield lambda: None
        return
    before = os.sched_getaffinity(0)
    following = cycle(cores)

    def move() -> None:
        with suppress(OSError):  # a core that this process may use no longer
            os.sched_setaffinity(0, {next(following)})

    try:
        yield move
    finally:
        os.sched_setaffinity(0, before)
