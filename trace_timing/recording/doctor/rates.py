"""Measure a device's rates: bytes a second of a large copy, operations a second of a large product.

Measured and not from a data sheet, because a floor must be reachable by this very device.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from trace_timing.records.manifest import HardwareRates

#: Large enough to hide the launch, small enough for any device that runs a model.
COPY_BYTES, PRODUCT_WIDTH, REPEATS = 1 << 29, 8192, 10


def measure_rates(
    device: Any,
    dtype: Any = None,
    *,
    copy_bytes: int = COPY_BYTES,
    width: int = PRODUCT_WIDTH,
    repeats: int = REPEATS,
) -> HardwareRates:
    """The best rates of several repeats.

    Args:
        device: a torch.device or its name; a CPU is timed by the host's clock.
        dtype: of the product; None means bfloat16.
    """
    import torch

    device, dtype = torch.device(device), dtype or torch.bfloat16
    source = torch.empty(copy_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    square = torch.randn(width, width, device=device).to(dtype)
    product = torch.empty_like(square)
    copy_s = _least_s(lambda: target.copy_(source), device, repeats)
    product_s = _least_s(lambda: torch.mm(square, square, out=product), device, repeats)
    return HardwareRates(
        # A copy reads each byte and writes it.
        copy_bytes_per_s=2 * copy_bytes / copy_s,
        matmul_flops_per_s=2 * width**3 / product_s,
        matmul_dtype=str(dtype).removeprefix("torch."),
    )


def _least_s(work: Callable[[], Any], device: Any, repeats: int) -> float:
    work()
    return min(_seconds(work, device) for _ in range(repeats))


def _seconds(work: Callable[[], Any], device: Any) -> float:
    """Seconds that the work takes, by CUDA events or the host's clock."""
    import torch

    if device.type != "cuda":
        start = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - start) / 1e9
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    work()
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after)) / 1e3
