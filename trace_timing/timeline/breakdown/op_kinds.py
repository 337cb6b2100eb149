"""What kind of work a GPU op does, by its name: the one table of name patterns.

A name says which library wrote the kernel and, mostly, what it computes; it does not say which
layer called it. A top-k may rank experts or tokens, a softmax may be attention's or the router's:
those stay with their mechanism (`sort`, `reduction`), and components tell the layer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from trace_timing.arrays import distinct_codes
from trace_timing.memoize import cached_per_object
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.trace.events import Kind, Trace

OpKind = Literal[
    "gemm",
    "attention",
    "convolution",
    "normalisation",
    "elementwise",
    "reduction",
    "sort",
    "indexing",
    "layout",
    "moe",
    "sampling",
    "compiled",
    "nccl",
    "memcpy_htod",
    "memcpy_dtoh",
    "memcpy_dtod",
    "memcpy_peer",
    "memcpy_other",
    "memset",
    "other",
]
#: Order of rows and colours. `memcpy_other`: a copy whose name gives no direction.
OP_KINDS: tuple[OpKind, ...] = OpKind.__args__  # type: ignore[attr-defined]

DEFINITIONS: dict[OpKind, str] = {
    "gemm": "Matrix products, split-K reductions and grouped expert products among them.",
    "attention": "Fused attention, and what joins its splits.",
    "convolution": "Convolutions and their helpers.",
    "normalisation": "Fused layer, RMS, batch and group norms.",
    "elementwise": "Pointwise arithmetic, activations, rotary embedding, fills.",
    "reduction": "Sums, means, maxima, softmax, pooling.",
    "sort": "Sort, top-k, scan, histogram, stream compaction.",
    "indexing": "Gather, scatter, index, embedding lookup, cache writes.",
    "layout": "Copies made by kernels: casts, concatenation, transposition.",
    "moe": "Expert routing and the permutation of tokens to and from experts.",
    "sampling": "Choosing tokens: argmax, multinomial, random numbers.",
    "compiled": "Triton kernels that Inductor generated, of whatever content.",
    "nccl": "Collectives and point-to-point transfers of NCCL or RCCL.",
    "memcpy_htod": "Copy from host to device.",
    "memcpy_dtoh": "Copy from device to host.",
    "memcpy_dtod": "Copy within a device.",
    "memcpy_peer": "Copy between devices.",
    "memcpy_other": "Copy whose name gives no direction.",
    "memset": "Fill of device memory.",
    "other": "A name that no pattern knows.",
}

#: First match wins; searched anywhere in the name, case ignored, so mangled names match as well.
#: Of a pair the second is searched behind the first's match: one pattern `a.*b` would take time
#: quadratic in the name's length.
_PATTERNS: tuple[tuple[OpKind, str | tuple[str, str]], ...] = (
    ("nccl", r"\bnccl|ncclkernel|nccldev|rccl|mscclpp?|all_?reduce_kernel|cross_device_reduce"),
    # Inductor's names end in the ops they fuse, so they would match nearly every row below.
    ("compiled", r"^triton_"),
    # ATen has one template for arange and for index arithmetic.
    ("elementwise", r"arange|linspace"),
    # A KV-cache write names the attention that will read it.
    ("indexing", r"reshape_and_cache|concat_and_cache|(copy|swap)_blocks|kv_?cache_(write|append)"),
    # lean_reduction joins the splits of cuDNN's SDPA: in every trace as often as that ran.
    ("attention", r"flash_?(attn|fwd|bwd|fprop|bprop)|_flash|fmha|sdpa|attn|attention|\bmha_"),
    ("attention", r"lean_reduction_kernel|^reduce_segments|with_?paged_?kv|with_?ragged_?kv"),
    ("attention", (r"flashinfer", r"prefill|decode|mergestate")),
    ("attention", r"mla_(decode|prefill|fwd)"),
    ("gemm", r"fused_?moe_(kernel|gemm)|moe_?gemm|gemm_?moe|moe_wna16|matmul_ogs"),
    ("moe", r"moe|routing|topk_?gating|topk_?softmax|grouped_topk|_topk_forward|bitmatrix"),
    ("moe", r"experts?_|permute_tokens|expand_?input_?rows|_finalize_matmul_scatter"),
    ("moe", r"prepare_grouped_gemm"),
    ("indexing", r"fbgemm_gpu::|embedding_(back|for)ward|split_embedding|permute_pooled_embs"),
    ("indexing", r"bounds_check_indices|linearize_index"),
    ("elementwise", r"rotary|\brope_|_rope_"),
    ("normalisation", r"(layer|rms|batch|group|instance|l2)_?norm|gammabeta|rowwise_?moments"),
    ("normalisation", r"cudnn::bn_|_norm_(fwd|bwd|forward|backward)"),
    ("layout", r"nchwtonhwc|nhwctonchw|batched_transpose|transpose_kernel"),
    ("convolution", r"scudnn|winograd|fprop|dgrad|wgrad|igemm_(fwd|bwd|wrw)|im2col|col2im"),
    ("convolution", r"conv(olution|olve|_|\d|[a-z]{0,32}<|fwd|bwd)|cask_cudnn|scalepackedtensor"),
    ("gemm", r"gemm|gemv|nvjet|cijk_|split_?k_?reduce|matmul|cublas|hipblas|rocblas|tensile"),
    ("gemm", r"wgmma|h884|hmma|imma|wvsplitk|llmm1|marlin|machete|\bwmma|dot_kernel"),
    ("sampling", r"argmax|multinomial|distribution_|philox|sample_?(token|multi|kernel)"),
    ("sampling", (r"top_?[kp]|min_?p|typical", r"sampl|mask|renorm")),
    ("sampling", r"sampling_?from|rejection_sampl"),
    ("sampling", r"penalt|exponential_kernel|bernoulli|randperm"),
    (
        "sort",
        r"sort|top_?k|radix|devicescan|::scan::|prefix_?sum|cumsum|cumprod|tensor_kernel_scan",
    ),
    ("sort", r"histogram|deviceselect|devicecompact|reducebykey|devicerunlength|unique|nonzero"),
    ("indexing", r"gather|scatter|index|embedding|take_|write_indices|reverse_indices"),
    ("layout", r"catarray|copy_kernel|transpose|permute|copy_device"),
    ("layout", r"subtensorop|cast_kernel|roll_cuda|flip_kernel"),
    ("reduction", r"reduce|reduction|softmax|pool|welford|segment"),
    ("elementwise", r"elementwise|multi_tensor_apply|foreach|fused_dropout"),
    ("elementwise", r"silu|gelu|relu|swiglu|act_and_mul|bias_?add|quant|triu_tril|fill"),
)
_TABLE = tuple(
    (kind, [re.compile(t, re.IGNORECASE) for t in ((text,) if isinstance(text, str) else text)])
    for kind, text in _PATTERNS
)
#: Only this many characters of a name are searched.
_MOST_CHARS = 4096

_COPIES: tuple[tuple[OpKind, str], ...] = (
    ("memcpy_htod", r"HtoD|HostToDevice|HtoA"),
    ("memcpy_dtoh", r"DtoH|DeviceToHost|AtoH"),
    ("memcpy_peer", r"PtoP|Peer"),
    ("memcpy_dtod", r"DtoD|DeviceToDevice|AtoA|AtoD|DtoA"),
)
_COPY_TABLE = tuple((kind, re.compile(text, re.IGNORECASE)) for kind, text in _COPIES)


def kind_of_kernel(name: str) -> OpKind:
    """Kind of a kernel by its name, `other` where no pattern knows it."""
    return _kind_of_kernel(name[:_MOST_CHARS])


@lru_cache(maxsize=4096)
def _kind_of_kernel(name: str) -> OpKind:
    return next((kind for kind, patterns in _TABLE if _in_a_row(patterns, name)), "other")


def _in_a_row(patterns: list[re.Pattern[str]], name: str) -> bool:
    """Whether all patterns match, each behind the one before it."""
    at = 0
    for pattern in patterns:
        match = pattern.search(name, at)
        if match is None:
            return False
        at = match.end()
    return True


def kind_of_copy(name: str) -> OpKind:
    """Direction of a memcpy by its name ("Memcpy DtoH (Device -> Pinned)")."""
    return _kind_of_copy(name[:_MOST_CHARS])


@lru_cache(maxsize=4096)
def _kind_of_copy(name: str) -> OpKind:
    return next((kind for kind, pattern in _COPY_TABLE if pattern.search(name)), "memcpy_other")


def op_kinds(trace: Trace, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Kind of each GPU op, as an index into OP_KINDS.

    Each distinct name is matched once.

    Args:
        rows: m rows of the trace's events, all of them kernels, memcpys or memsets.
    Returns:
        m entries, same order.
    """
    events, names = trace.events, len(trace.names)
    code = events.kind[rows].astype(np.int64) * names + events.name[rows]
    table: npt.NDArray[np.uint8] = np.zeros(len(Kind) * names, np.uint8)
    for value in distinct_codes(code).tolist():
        kind, name = divmod(value, names)
        table[value] = OP_KINDS.index(_kind_of(Kind(kind), trace.names[name]))
    kinds: npt.NDArray[np.uint8] = table[code]
    return kinds


@cached_per_object
def kinds_of_run(trace: Trace, run: RunTimeline) -> npt.NDArray[np.uint8]:
    """`op_kinds` of the run's ops."""
    return op_kinds(trace, run.ops.row)


def _kind_of(kind: Kind, name: str) -> OpKind:
    match kind:
        case Kind.MEMCPY:
            return kind_of_copy(name)
        case Kind.MEMSET:
            return "memset"
        case _:
            return kind_of_kernel(name)
