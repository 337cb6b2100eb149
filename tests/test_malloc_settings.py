"""Memory that was freed is used again without the kernel's help."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import numpy as np
import pytest

from trace_timing.malloc_settings import reuse_freed_memory

ARRAY_BYTES, TIMES = 1 << 22, 30
_SAME_IN_A_NEW_PROCESS = """
from tests.test_malloc_settings import faults_of_arrays
print(faults_of_arrays())
"""


def faults_of_arrays() -> int:
    """Pages that the kernel had to give for arrays made and freed one after another."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        np.ones(ARRAY_BYTES, np.uint8)
        np.ones(ARRAY_BYTES // 2, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are not affected")
def test_arrays_made_one_after_another_take_the_same_pages() -> None:
    command = [sys.executable, "-c", _SAME_IN_A_NEW_PROCESS]
    fresh = subprocess.run(command, capture_output=True, text=True, check=True)
    reuse_freed_memory()
    faults_of_arrays()  # the pages of the first are new in any case
    assert faults_of_arrays() < int(fresh.stdout) / 10
