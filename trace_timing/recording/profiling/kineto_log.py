"""Kineto's own log: it writes lines about every session to stderr, also in a user's notebook."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

#: Read by Kineto when torch is loaded or at the first session. Where the user has set it, it stays.
VARIABLE = "KINETO_LOG_LEVEL"
#: Above every level that Kineto logs at (libkineto/include/output_base.h: VERBOSE 0 to STAGE 5).
SILENT = 9
#: `libkineto::Logger::severityLevel_`, which no Python name leads to; exported by torch's library.
_LEVEL = "_ZN9libkineto6Logger14severityLevel_E"
_LIBRARIES = {"win32": "torch_cpu.dll", "darwin": "libtorch_cpu.dylib"}


def silence() -> None:
    """Let Kineto log nothing from now on, whether it has read the variable already or not."""
    if os.environ.setdefault(VARIABLE, str(SILENT)) != str(SILENT):
        return
    # Not loaded under that name, or without the symbol: then the variable has to do.
    with suppress(OSError, ValueError):
        library = ctypes.CDLL(_LIBRARIES.get(sys.platform, "libtorch_cpu.so"))
        ctypes.c_int.in_dll(library, _LEVEL).value = SILENT
