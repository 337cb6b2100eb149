"""What an API call does to the host, told by its name: launches, waits, allocates.

Names: CUDA Runtime and Driver API 13.0 references, HIP 7.0 API reference. A suffix `_v2` or
`_ptsz` (per-thread default stream) is the same call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from trace_timing.trace.events import Events
from trace_timing.units import BoolArray, IntArray

_SUFFIX = r"(?:_v\d+)?(?:_pt(?:sz|ds))?"
SYNCHRONIZING = re.compile(
    r"(?:cuda|hip)(?:Stream|Device|Event|Thread)Synchronize"
    r"|cu(?:Stream|Ctx|Event)Synchronize"
    r"|(?:cuda|hip)Memcpy(?:2D|3D|Peer|ToSymbol|FromSymbol)?"
    r"|hipMemcpy(?:DtoH|HtoD|DtoD|WithStream)"
    r"|cuMemcpy(?:DtoH|HtoD|DtoD|2D|3D)?" + _SUFFIX
)
ALLOCATING = re.compile(
    r"(?:cuda|hip)(?:Malloc|Free)(?:\w*)"
    r"|(?:cuda|hip)Host(?:Alloc|Malloc|Free|Register|Unregister)"
    r"|cuMem(?:Alloc|Free|Create|Release|Map|Unmap|AddressReserve|AddressFree|SetAccess|HostAlloc)"
    r"\w*"
)
LAUNCHING = re.compile(
    r"(?:cuda|hip)(?:Ext)?(?:Module)?Launch(?:Cooperative)?Kernel\w*|cuLaunch\w*Kernel\w*"
    r"|(?:cuda|hip|cu)GraphLaunch" + _SUFFIX
)


def calls_matching(
    events: Events, rows: IntArray, names: Sequence[str], pattern: re.Pattern[str]
) -> BoolArray:
    """Which of the given calls have a name that the pattern matches whole; len(rows) entries."""
    matches = np.array([pattern.fullmatch(name) is not None for name in names], dtype=np.bool_)
    return matches[events.name[rows]] if len(names) else np.zeros(len(rows), np.bool_)
