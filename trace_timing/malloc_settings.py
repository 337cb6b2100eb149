"""Raise glibc's mmap threshold so that freed NumPy arrays are reused without new page faults."""

from __future__ import annotations

from functools import cache

import numpy as np

#: glibc's largest threshold (DEFAULT_MMAP_THRESHOLD_MAX, 64 bits), less room for its own header.
_LARGEST_BYTES = 2**25 - 2**14


@cache
def reuse_freed_memory() -> None:
    """Let malloc reuse up to 64 MB of freed memory.

    By default glibc maps each array of 128 KiB and more anew, or returns it to the system when it
    is freed, and the kernel clears every page again: 8 of 62 ms for all tables of 46,000 ops. Its
    thresholds follow the largest block freed so far, so one large block is allocated and freed; it
    is never written to, so it costs nothing. Other allocators are not affected.

    Source: mallopt(3), M_MMAP_THRESHOLD, on the dynamic adjustment of thresholds.
    """
    np.empty(_LARGEST_BYTES, np.uint8)
