"""Of real architectures the order of CPU ops tells the parts that their modules' ranges tell."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from trace_timing.recording.hooks.components import component_ranges  # noqa: E402
from trace_timing.timeline.breakdown.components import recorded_components  # noqa: E402
from trace_timing.timeline.breakdown.cpu_op_structure import structure  # noqa: E402
from trace_timing.timeline.build.intervals import outermost  # noqa: E402
from trace_timing.timeline.build.ranges import host_timelines  # noqa: E402
from trace_timing.timeline.build.runs import lay_out  # noqa: E402
from trace_timing.trace.events import Kind  # noqa: E402
from trace_timing.trace.files.reading import open_trace  # noqa: E402

pytestmark = pytest.mark.capture

#: Launch nothing: whose they are does not matter.
NO_WORK = {"aten::view", "aten::reshape", "aten::dropout"}
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 99,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "num_local_experts": 4}


def _profiled(architecture: str, attention: str, folder: Path) -> Any:
    kind = {"olmoe": MOE, "mixtral": MOE, "qwen3_moe": {**MOE, "moe_intermediate_size": 16}}
    extra = kind.get(architecture, {})
    config = transformers.AutoConfig.for_model(architecture, **SMALL, **extra)
    config._attn_implementation = attention
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    ids = torch.arange(3, 11)[None]
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.no_grad(), component_ranges(model, lambda: True):
        model(input_ids=ids)
        profile = torch.profiler.profile(activities=activities)
        with profile, torch.profiler.record_function("prefill"):
            model(input_ids=ids)
    path = folder / "trace.json"
    profile.export_chrome_trace(str(path))
    return open_trace(path, cpu_ops=True)


def _told_and_true(trace: Any) -> tuple[Any, list[Any], list[Any]]:
    """Of each outermost op in prefill, the part by its order and by the module's range."""
    (run,) = lay_out(trace).runs
    found = structure(trace, run)
    events = trace.events
    rows = events.rows(Kind.CPU_OP)
    rows = rows[events.thread[rows] == run.generating_thread]
    rows = rows[outermost(events.start_ns[rows], events.end_ns[rows])]
    works = [trace.names[i] not in NO_WORK for i in events.name[rows]]
    rows = rows[works]
    parts, ranges = recorded_components(trace)
    timeline = host_timelines(ranges)[run.generating_thread]
    code = timeline.at(events.start_ns[rows])
    true = [parts[c] if c >= 0 else ("rest", None) for c in code]
    told = []
    for start in events.start_ns[rows]:
        inside = [part for part, begin, end in found.stretches if begin <= start < end]
        told.append(inside[0] if inside else ("rest", None))
    return found, told, true


@pytest.mark.parametrize(
    ("architecture", "attention"),
    [
        ("llama", "sdpa"),
        ("llama", "eager"),
        ("mistral", "sdpa"),
        ("qwen2", "sdpa"),
        ("qwen3", "sdpa"),
        ("gemma", "sdpa"),
        ("gemma2", "eager"),
        ("gemma3_text", "sdpa"),
        ("olmoe", "sdpa"),
        ("mixtral", "eager"),
        ("qwen3_moe", "sdpa"),
        ("phi3", "sdpa"),
    ],
)
def test_blocks_that_norm_first_are_told(architecture: str, attention: str, tmp_path: Path) -> None:
    found, told, true = _told_and_true(_profiled(architecture, attention, tmp_path))
    assert found.unknown == {}
    assert Counter((a, b) for a, b in zip(told, true, strict=True) if a != b) == {}
    assert len({part for part in told if part[0] == "attention"}) == 3


@pytest.mark.parametrize("architecture", ["phi", "cohere", "gpt_neox", "olmo2"])
def test_of_other_blocks_nothing_is_told(architecture: str, tmp_path: Path) -> None:
    found, told, _ = _told_and_true(_profiled(architecture, "sdpa", tmp_path))
    assert set(found.unknown) == {"prefill"}
    assert set(told) == {("rest", None)}
