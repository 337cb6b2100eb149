"""Patterns of others end in time, and names of any length cost time in proportion."""

from __future__ import annotations

import pickle
import re
import time
from pathlib import Path

import pytest

from tests.timeline.building import TraceBuilder
from trace_timing.api_call_names import role_of_call
from trace_timing.errors import AttributionError, UsageError
from trace_timing.timeline.breakdown.cpu_op_structure import components_of_forward
from trace_timing.timeline.breakdown.op_kinds import kind_of_copy, kind_of_kernel
from trace_timing.timeline.build.ranges import find_ranges
from trace_timing.timeline.naming import stage_names
from trace_timing.timeline.naming.patterns import LimitedPattern
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, parse_stage_map
from trace_timing.trace.processes import label_of

#: `re` never ends on it, nor would `regex`: most such patterns it gives up at once, not this one.
SLOW = r"(a|aa)+b"


def stage_map(pattern: str) -> stage_names.StageMap:
    return parse_stage_map(f"[stages]\nprefill = '{pattern}'\n", "stages.toml")


def test_a_pattern_that_takes_too_long_is_named() -> None:
    begun = time.process_time()
    with pytest.raises(UsageError, match="takes too long") as caught:
        stage_map(SLOW).resolve("a" * 60 + "!")
    assert time.process_time() - begun < 10
    assert SLOW in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(.*)*c", r"(?:a?){60}a{60}"])
def test_repetition_within_repetition_ends(pattern: str) -> None:
    begun = time.process_time()
    assert stage_map(pattern).resolve("a" * 59 + "!") is None
    assert time.process_time() - begun < 2


def test_all_names_of_a_trace_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_names, "_MOST_SECONDS_A_TRACE", 0)
    with pytest.raises(UsageError, match="take too long"):
        stage_map("prefill").meanings([f"name {i}" for i in range(1000)])


@pytest.mark.parametrize(
    ("pattern", "name", "step"),
    [(r"llm(?=_p)_prefill", "llm_prefill", None), (r"(?P<step>\d+)-(?P=step)", "7-7", 7)],
)
def test_patterns_may_look_around_and_back(pattern: str, name: str, step: int | None) -> None:
    found = pickle.loads(pickle.dumps(stage_map(pattern))).resolve(name)
    assert (found.stage, found.step) == ("prefill", step)


def test_what_is_no_pattern_is_refused() -> None:
    for text in ("(", "*", "(?P<a>", "[z-a]"):
        with pytest.raises(UsageError, match="no regular expression"):
            stage_map(text)
    with pytest.raises(re.error):
        LimitedPattern("(").fullmatch("a")


@pytest.mark.parametrize(
    "text", ["a = " + "9" * 5000, "a = " + "[" * 5000, "[stages]\nprefill = 1\nprefill = 2"]
)
def test_a_file_that_toml_cannot_hold_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="cannot read the stage map"):
        parse_stage_map(text, "stages.toml")


@pytest.mark.parametrize("digits", [19, 4000])
def test_a_step_number_that_does_not_fit_is_refused_by_name(digits: int) -> None:
    trace = TraceBuilder().range(f"decode[{'9' * digits}]", 0, 9).trace()
    with pytest.raises(AttributionError, match=r"'decode\[9+.* does not fit 63 bits"):
        find_ranges(trace, DEFAULT_STAGES)


def test_the_largest_step_number_is_read() -> None:
    trace = TraceBuilder().range(f"decode[{'9' * 18}]", 0, 9).trace()
    assert find_ranges(trace, DEFAULT_STAGES).keys[0].step == 10**18 - 1


def test_a_name_too_long_for_a_stage_is_somebody_elses() -> None:
    assert stage_map(".*").resolve("a" * 4096)
    assert stage_map(".*").resolve("a" * 4097) is None


@pytest.mark.parametrize(
    "part", ["flashinfer", "top_k", "_", "conv", "convz", "min_p", "x_copy", "memcpy", "a", "M s "]
)
def test_a_name_of_100_kilobytes_costs_milliseconds(part: str) -> None:
    name = part * (100_000 // len(part))
    begun = time.process_time()
    kind_of_kernel(name), kind_of_copy(name), role_of_call(name), label_of(name)
    # Kinds alone took 12 s.
    assert time.process_time() - begun < 0.5


def test_a_process_of_many_digits_costs_milliseconds() -> None:
    begun = time.process_time()
    assert label_of("1" * 100_000 + "a") == ""
    assert label_of("[TP01] " + "1" * 100_000) == "[TP01]"
    assert time.process_time() - begun < 0.5


def test_a_forward_of_many_softmaxes_costs_time_in_proportion() -> None:
    names = ["aten::bmm", *["aten::softmax"] * 50_000, "aten::linear", "aten::rms_norm"]
    begun = time.process_time()
    components_of_forward(names)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("flashinfer::BatchDecodeWithPagedKVCache", "attention"),
        ("void flashinfer::sampling::TopKRenormProbKernel<1024>", "sampling"),
        ("top_p_sampling_kernel", "sampling"),
        ("sampl_then_top_k", "sort"),
        ("direct_copy_kernel_cuda", "layout"),
        ("convolve_sgemm<float>", "convolution"),
    ],
)
def test_kinds_told_by_two_words_in_a_row(name: str, kind: str) -> None:
    assert kind_of_kernel(name) == kind
