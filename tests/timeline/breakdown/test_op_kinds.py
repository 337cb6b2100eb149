"""Every op gets a kind by its name, from one table; almost no kernel time is left in `other`."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.timeline.handmade import make_trace
from trace_timing.timeline.breakdown.op_kinds import (
    DEFINITIONS,
    OP_KINDS,
    kind_of_copy,
    kind_of_kernel,
    op_kinds,
)
from trace_timing.trace.events import Kind

NVIDIA = [
    "h200/llava_llama1b_cpu_cuda",
    "h200/llava_llama1b_cuda_only_no_ranges",
    "h200/llava_llama1b_user_scope",
    "h200/llava_olmoe_cpu_cuda",
    "h200/molmoe_1crop_user_scope",
    "peers/hta_negative_queue_length",
    "peers/hta_ns_resolution",
]
AMD = ["peers/tracelens_mi210_gpu_only", "peers/tracelens_vllm_decode_graph"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_sm90_tst_64x8_64x16_4x1_v_bz_splitK_TNT", "gemm"),
        ("void cublasLt::splitKreduce_kernel<32, 16, int, float>(…)", "gemm"),
        ("void cutlass::Kernel2<cutlass_80_simt_sgemm_128x32_8x5_tn_align1>(…)", "gemm"),
        ("Cijk_Alik_Bljk_BBS_BH_Bias_HAS_SAV_UserArgs_MT32x32x64_MI16x16x1_SN", "gemm"),
        ("_ZN2ck27kernel_gemm_xdl_cshuffle_v3INS_", "gemm"),
        ("fused_moe_kernel", "gemm"),
        ("_matmul_ogs_NNT_bf16xbf16xmxfp4_16x128x256x1_swiglu", "gemm"),
        ("void flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<64>>", "attention"),
        (
            "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits>",
            "attention",
        ),
        ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::…)", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm80_flash_fprop_wmma_f16_knob_35", "attention"),
        ("void cudnn::fusion::lean_reduction_kernel<false, false, false>(…)", "attention"),
        ("_ZN5aiter14fmha_fwd_hd128_bf16E", "attention"),
        ("attn_fwd", "attention"),
        (
            "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816fprop_optimized>",
            "convolution",
        ),
        ("igemm_bwd_gtcx2_nhwc_bf16_bx0_ex1_bt128x128x32", "convolution"),
        ("void implicit_convolve_sgemm<float, float, 1024, 5, 5, 3>", "convolution"),
        (
            "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<…>",
            "normalisation",
        ),
        ("_ZN7ck_tile6kentryILi1ENS_12Rmsnorm2dFwdINS_", "normalisation"),
        ("void vllm::rms_norm_kernel<c10::BFloat16>", "normalisation"),
        ("void (anonymous namespace)::softmax_warp_forward<float, float, float, 6>", "reduction"),
        (
            "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, MeanOps>>",
            "reduction",
        ),
        ("void at::native::reduce_kernel<512, 1, ReduceOp<float, ArgMaxOps<float>>>", "sampling"),
        ("void at::native::(anonymous namespace)::sampleMultinomialOnce<float>", "sampling"),
        ("void at::native::sbtopk::gatherTopK<float, unsigned int, 1, false>", "sort"),
        ("void at::native::bitonicSortKVInPlace<2, -1, 16, 16, float, long>", "sort"),
        ("void at::native::index_elementwise_kernel<128, 4, index_put_kernel_impl>", "indexing"),
        ("void vllm::reshape_and_cache_flash_kernel<__hip_bfloat16>", "indexing"),
        ("void fbgemm_gpu::permute_2D_data_kernel<true, int, int, float>", "indexing"),
        ("void elementwise_kernel_with_index<int, at::native::arange_cuda_out(…)>", "elementwise"),
        ("void at::native::elementwise_kernel<128, 4, CUDAFunctor_add<float>>", "elementwise"),
        ("void vllm::rotary_embedding_kernel<c10::BFloat16, true>", "elementwise"),
        ("void at::native::elementwise_kernel<128, 2, direct_copy_kernel_cuda(…)>", "layout"),
        ("void at::native::CatArrayBatchedCopy<OpaqueType<2u>, unsigned int, 4>", "layout"),
        ("void vllm::moe::topkGatingSoftmax<8, 64>", "moe"),
        ("void moe_align_block_size_kernel<int>", "moe"),
        ("ck_tile::MoeSortingKernel", "moe"),
        ("_combined_routing_compute", "moe"),
        ("triton_poi_fused_constant_pad_nd_moe_forward_0", "compiled"),
        ("triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_7", "compiled"),
        ("triton__0d1d2d3d", "compiled"),
        ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevComm*, …)", "nccl"),
        ("ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, …)", "nccl"),
        ("my_own_kernel(float*)", "other"),
    ],
)
def test_a_kernel_name_tells_its_kind(name: str, kind: str) -> None:
    assert kind_of_kernel(name) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Memcpy HtoD (Pageable -> Device)", "memcpy_htod"),
        ("Memcpy DtoH (Device -> Pinned)", "memcpy_dtoh"),
        ("Memcpy DtoD (Device -> Device)", "memcpy_dtod"),
        ("Memcpy PtoP (Device -> Device)", "memcpy_peer"),
        ("CopyDeviceToHost", "memcpy_dtoh"),
        ("Memcpy", "memcpy_other"),
    ],
)
def test_a_copy_name_tells_its_direction(name: str, kind: str) -> None:
    assert kind_of_copy(name) == kind


def test_every_kind_has_a_definition_and_no_kind_is_listed_twice() -> None:
    assert tuple(DEFINITIONS) == OP_KINDS
    assert len(set(OP_KINDS)) == len(OP_KINDS)


def test_ops_are_classed_by_event_kind_first_and_name_second() -> None:
    """A kernel called 'Memcpy…' is no memcpy, and a memset needs no name."""
    trace = make_trace(
        ops=[
            (Kind.KERNEL, "nvjet_x", 0, 5),
            (Kind.MEMCPY, "Memcpy DtoH (Device -> Pinned)", 5, 6),
            (Kind.KERNEL, "Memcpy DtoH (Device -> Pinned)", 6, 7),
            (Kind.MEMSET, "nvjet_x", 7, 9),
            (Kind.KERNEL, "nvjet_x", 9, 10),
        ]
    )
    rows = trace.events.rows(Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET)
    assert [OP_KINDS[code] for code in op_kinds(trace, rows)] == [
        "gemm",
        "memcpy_dtoh",
        "other",
        "memset",
        "gemm",
    ]
    assert op_kinds(trace, np.array([], np.int64)).tolist() == []


def _kernel_time_by_kind(path: Path) -> Counter[str]:
    """Read independently of the package: this is about names alone."""
    times: Counter[str] = Counter()
    for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]:
        if event.get("cat") == "kernel" and event.get("ph") == "X":
            times[kind_of_kernel(event["name"])] += event["dur"]
    return times


@pytest.mark.slow
@pytest.mark.parametrize("name", NVIDIA + AMD)
def test_at_most_two_percent_of_kernel_time_is_of_no_known_kind(shared: Path, name: str) -> None:
    times = _kernel_time_by_kind(shared / "traces" / f"{name}.json.gz")
    other_frac = times["other"] / times.total()
    print(f"{name}: {other_frac:.2%} of {times.total() / 1e3:.1f} ms of kernel time in other")
    assert other_frac <= 0.02
    assert len(times) > 3


@pytest.mark.slow
def test_the_traces_beside_the_tests_leave_next_to_nothing_without_a_kind() -> None:
    folders = (REPOSITORY / "sample_traces", REPOSITORY / "tests" / "data")
    paths = [path for folder in folders for path in sorted(folder.rglob("*.json.gz"))]
    assert len(paths) >= 7
    for path in paths:
        times = _kernel_time_by_kind(path)
        print(f"{path.name}: {times['other'] / times.total():.2%} in other")
        assert times["other"] <= 0.02 * times.total()


def test_the_expert_loop_of_molmoe_is_seen_as_sorts_gathers_and_gemms(h200: Path) -> None:
    times = _kernel_time_by_kind(h200 / "molmoe_1crop_user_scope.json.gz")
    assert times["sort"] > times.total() / 5
    assert times["gemm"] > times.total() / 5
    assert times["indexing"] > times.total() / 20
