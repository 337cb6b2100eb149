"""What an API call does, by its name: the one table of CUDA, HIP and oneAPI call names.

Names: CUDA Runtime and Driver API 13.0 references, HIP 7.0 API reference, Unified Runtime 0.11
and Level Zero 1.13 specifications.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

CallRole = Literal[
    "launch",
    "graph_launch",
    "sync",
    "copy",
    "blocking_copy",
    "fill",
    "alloc",
    "free",
    "event",
    "capture",
    "load",
    "query",
    "setup",
    "unknown",
]
CALL_ROLES: tuple[CallRole, ...] = CallRole.__args__  # type: ignore[attr-defined]

DEFINITIONS: dict[CallRole, str] = {
    "launch": "Puts a kernel into a stream.",
    "graph_launch": "Puts a whole graph into a stream.",
    "sync": "Returns when the device has reached a point.",
    "copy": "Puts a copy into a stream. From or to pageable memory it may wait; no name says so.",
    "blocking_copy": "Copies and returns when that is done.",
    "fill": "Fills device memory.",
    "alloc": "Takes, maps or registers memory, or gives it back in stream order.",
    "free": "Gives memory back; waits for the device first.",
    "event": "Puts an event, a wait for one, or a function of the host into a stream.",
    "capture": "Captures, builds or changes a graph.",
    "load": "Loads or links device code.",
    "query": "Asks and returns.",
    "setup": "Makes, sets or ends streams, events, contexts and attributes.",
    "unknown": "No row of the table knows the name. Kineto itself writes INVALID for some.",
}

#: Roles of calls that return only when the device has reached a point.
SYNCHRONIZING: frozenset[CallRole] = frozenset({"sync", "blocking_copy"})
ALLOCATING: frozenset[CallRole] = frozenset({"alloc", "free"})
LAUNCHING: frozenset[CallRole] = frozenset({"launch", "graph_launch"})

#: Patterns for the name after its prefix; the first match wins. A suffix `_v2`, `_ptsz` or `_spt`
#: (the same call with another default stream) is removed before.
_TABLE: tuple[tuple[CallRole, str], ...] = (
    ("graph_launch", r"GraphLaunch"),
    # A host function makes no op on the device.
    ("event", r"LaunchHostFunc|StreamAddCallback"),
    ("launch", r"(?:Ext|Drv|Hcc)*(?:Module)?Launch(?!Attribute)\w*"),
    # oneAPI: Unified Runtime (ur…) and Level Zero (ze…), which Kineto records as xpu_runtime.
    ("launch", r"Enqueue(?:Cooperative)?KernelLaunch\w*|CommandListAppendLaunch\w*"),
    ("sync", r"QueueFinish|EventWait|(?:CommandQueue|CommandList|Event|Fence)\w*Synchronize"),
    ("copy", r"Enqueue(?:USM|Mem)\w*(?:Memcpy|Read|Write|Copy)\w*|CommandListAppendMemoryCopy\w*"),
    ("fill", r"Enqueue(?:USM|Mem)\w*Fill\w*|CommandListAppendMemoryFill"),
    ("alloc", r"USM(?:Host|Device|Shared)Alloc|USMPool\w+"),
    ("free", r"USMFree"),
    ("sync", r"(?:Stream|Device|Event|Thread|Ctx)Synchronize"),
    ("copy", r"(?:Drv)?Memcpy\w*Async|MemPrefetch\w*|MemDiscard\w*"),
    ("blocking_copy", r"(?:Drv)?Memcpy\w*"),
    ("fill", r"Memset\w*"),
    ("alloc", r"(?:Mem)?FreeAsync"),
    ("free", r"Free(?:Host|Array|MipmappedArray)?|(?:Mem|MemHost|Host|Array)?Free(?:Host)?"),
    ("alloc", r"(?:Ext)?Malloc\w*|HostAlloc|HostMalloc|(?:Mem)?Host(?:Alloc|Register|Unregister)"),
    ("alloc", r"Mem(?:Alloc\w*|Create|Release|Map\w*|Unmap|SetAccess|Address(?:Reserve|Free))"),
    ("alloc", r"MemPool(?:Create|Destroy|TrimTo)|(?:Mipmapped)?Array3?D?Create"),
    ("event", r"EventRecord\w*|StreamWait(?:Event|Value\d*)|StreamWriteValue\d*|StreamBatchMemOp"),
    ("query", r"Stream(?:IsCapturing|GetCaptureInfo\w*)|GraphExec(?:Get\w+)|Graph\w*Get\w+"),
    ("capture", r"Stream(?:Begin|End)Capture\w*|StreamUpdateCaptureDependencies"),
    ("capture", r"ThreadExchangeStreamCaptureMode|(?:Drv)?Graph(?!ics)\w+"),
    ("load", r"(?:Module|Library)(?:Load|Unload|Get|Enumerate)\w*|Link\w+|Kernel(?:Get|Set)\w+"),
    ("query", r"\w*(?:Get|Query|Occupancy|CanAccess|CanMap)\w*|PeekAtLastError|EventElapsedTime"),
    ("setup", r"(?:Ext)?(?:Stream|Event|Ctx|Device|Func|Thread|MemPool|Ipc|Profiler|GreenCtx)\w+"),
    ("setup", r"(?:Set|Init|Choose|User|Import|External|TensorMap|Multicast|MemAdvise)\w*"),
    ("setup", r"(?:Create|Destroy|Bind|Unbind|TexObject|SurfObject|Graphics|GL|EGL|D3D)\w+"),
    ("setup", r"(?:Push|Pop)CallConfiguration|Register\w+|Unregister\w+"),
)
_ROWS = tuple((role, re.compile(text)) for role, text in _TABLE)
_NAME = re.compile(
    r"_{0,2}(?:cuda|cu|hip|ur|ze)(?P<call>[A-Z]\w*?)(?:_v\d+)?(?:_pt(?:sz|ds)|_spt)?(?:R\d{4})?"
)


#: Longest name looked up; the longest of the two APIs have 60 characters.
_MOST_CHARS = 256


def role_of_call(name: str) -> CallRole:
    """The role of a call; `unknown` where no pattern matches its name."""
    return _role_of_call(name) if len(name) <= _MOST_CHARS else "unknown"


@lru_cache(maxsize=4096)
def _role_of_call(name: str) -> CallRole:
    match = _NAME.fullmatch(name)
    if match is None:
        return "unknown"
    call = match["call"]
    return next((role for role, pattern in _ROWS if pattern.fullmatch(call)), "unknown")
