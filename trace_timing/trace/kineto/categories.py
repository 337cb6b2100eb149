"""Kind of event of each category of a Kineto trace."""

from __future__ import annotations

from collections.abc import Mapping

from trace_timing.trace.events import Kind

#: Kineto's categories, by version and back end (libkineto/src/ActivityType.cpp): API calls of ROCm
#: and other devices are cuda_runtime or have their own names. Before October 2022 all were
#: capitalised (Kernel, Runtime …), so case is ignored.
KIND_OF_CATEGORY: Mapping[str, Kind] = {
    "user_annotation": Kind.RANGE,
    "cuda_runtime": Kind.CALL,
    "cuda_driver": Kind.CALL,
    "hip_runtime": Kind.CALL,
    "hip_driver": Kind.CALL,
    "runtime": Kind.CALL,
    "driver": Kind.CALL,
    "privateuse1_runtime": Kind.CALL,
    "privateuse1_driver": Kind.CALL,
    "xpu_runtime": Kind.CALL,
    "xpu_driver": Kind.CALL,
    "mtia_runtime": Kind.CALL,
    "kernel": Kind.KERNEL,
    "gpu_memcpy": Kind.MEMCPY,
    "memcpy": Kind.MEMCPY,
    "gpu_memset": Kind.MEMSET,
    "memset": Kind.MEMSET,
    "cpu_op": Kind.CPU_OP,
    "operator": Kind.CPU_OP,
    "overhead": Kind.OVERHEAD,
    "cuda_sync": Kind.SYNC,
}
#: Kinds by which nothing is timed, so that events with unusable times are left out.
NOT_TIMED = frozenset({Kind.CPU_OP, Kind.OVERHEAD, Kind.SYNC})
#: Kind of categories that analysis does not use.
SKIPPED = 255


def kind_of(label: str, *, cpu_ops: bool) -> int:
    """The kind of a category; SKIPPED if not used, and for CPU ops unless requested."""
    kind = KIND_OF_CATEGORY.get(label.lower(), SKIPPED)
    return kind if cpu_ops or kind != Kind.CPU_OP else SKIPPED
