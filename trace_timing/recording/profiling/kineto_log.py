"""Silence Kineto's log, which writes lines about every session to stderr and into notebooks."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

#: Read by Kineto when torch is loaded or at the first session. A user's setting is left alone.
VARIABLE = "KINETO_LOG_LEVEL"
#: Above every level that Kineto logs at (libkineto/include/output_base.h: VERBOSE 0 to STAGE 5).
SILENT = 9
#: `libkineto::Logger::severityLevel_`: exported by torch's library, not reachable from Python.
_LEVEL = "_ZN9libkineto6Logger14severityLevel_E"
_LIBRARIES = {"win32": "torch_cpu.dll", "darwin": "libtorch_cpu.dylib"}


def silence() -> None:
    """Stop Kineto's log, whether or not Kineto has read the variable already."""
    if os.environ.setdefault(VARIABLE, str(SILENT)) != str(SILENT):
        return
    # If the library or symbol has another name, only the variable is set.
    with suppress(OSError, ValueError):
        library = ctypes.CDLL(_LIBRARIES.get(sys.platform, "libtorch_cpu.so"))
        ctypes.c_int.in_dll(library, _LEVEL).value = SILENT
