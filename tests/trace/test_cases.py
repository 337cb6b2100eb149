"""Small traces of situations that people report: each is read right, or refused in words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.plain.figures import Figures, figures
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.analysis.worker import Outcome, Settings, analyze_trace
from trace_timing.stats.trace.trace_result import TraceSource

#: The baseline's windows in µs.
BASELINE = {"prefill": 68, "decode": 54, "other": 7}
#: What reads as the baseline, with the codes of what must be said beside.
AS_BASELINE: dict[str, set[str]] = {
    "00_baseline.json": set(),
    "01_old_categories.json": set(),
    "02_xpu.json": set(),
    "08c_unended_cpu_op.json": set(),
    "09_crossing_by_2us.json": {"crossing_ranges"},
    "09b_unmapped_crossing.json": set(),
    "10_unescaped_backslash.json": {"text_put_right"},
    "10c_invalid_utf8.json": {"text_put_right"},
    "10d_invalid_utf8_kernel_name.json": {"text_put_right"},
    "11_inf.json": set(),
    "11_mnan.json": set(),
    "11_nan.json": set(),
    "11_neginf.json": set(),
    "11_winnan.json": set(),
    "12e_gz_two_members.json.gz": set(),
    "12g_utf8_bom.json": set(),
    "13_ts_strings.json": set(),
    "13b_ts_scientific.json": set(),
    "13c_float_tid_on_ranges.json": set(),
    "13d_string_tid_on_calls.json": set(),
    "13e_big_ids.json": set(),
    "17_nested_generate.json": set(),
    "21_launch_thread_without_ranges.json": {"launched_by_other_thread"},
    "25b_negative_dur_python.json": set(),
    "31_correlation_31.json": set(),
    "31_correlation_53.json": set(),
    "31_correlation_63.json": set(),
    "32_no_device_args.json": set(),
    "34_driver_in_runtime.json": set(),
    "35_privateuse1.json": set(),
    "38_cuda_sync.json": set(),
    "40_compact.json": set(),
    "40b_indent4.json": set(),
    "40c_tab_crlf.json": set(),
    "41_nested_traceEvents.json": set(),
    "44_nan_dur_cpu_op.json": set(),
    "44d_unmapped_range_without_dur.json": {"events_left_out"},
    "49_negative_ts.json": set(),
    "49b_ts_from_zero.json": set(),
    "50_float64_1970.json": set(),
}
#: What is said of traces that read otherwise, a code and words of its evidence or remedy.
SAID: dict[str, tuple[str, str]] = {
    "04_rocm_corr0.json": ("launch_missing", "1 ops"),
    "04b_rocm_corr0_call.json": ("launch_missing", "1 ops"),
    "07c_dur_overflows_next.json": ("corrupt_durations", "1 ops"),
    "14_ascend.json": ("clock_host", "kinds that are not known: async_npu (10), ph X (9)"),
    "15_mtia.json": ("clock_host", "kinds that are not known: mtia_ccp_events (9)"),
    "19_begin_end_ranges.json": ("no_stage_ranges", "5 begin events (ph B)"),
    "20_all_kernels_lost.json": ("clock_host", "the ops of 9 launches are lost"),
    "27_gpu_only_with_gpu_user_annotation.json": ("no_stage_ranges", "1 gpu_user_annotation"),
    "33_external_id_only.json": ("launch_missing", "an External id does not say"),
    "36_mps.json": ("clock_host", "no kernel, memcpy or memset"),
}
#: What the integrity checks have to say of traces that give figures.
INTEGRITY: dict[str, set[str]] = {
    "05_one_correlation_for_all.json": {"shared_launch"},
    "06_kernel_ts0.json": {"zero_timestamp"},
    "07d_last_dur_corrupt.json": {"op_after_sync"},
    "08_generate_zero_length.json": {"zero_length_range"},
    "08b_decode3_zero_length.json": {"zero_length_range"},
    "28b_ranges_zero.json": {"range_at_zero"},
    "29_decode2_missing.json": {"step_missing"},
    "51c_kernel_ts0_no_ranges.json": {"zero_timestamp"},
}
REFUSED: dict[str, str] = {
    "07_dur_236_years.json": "kernel 'gemv_kernel' begins at 5 s and takes 7447680000 s",
    "07b_dur_236_years_1970.json": "kernel event 'gemv_kernel' has ts + dur",
    "12_truncated.json": "not JSON: Input data was truncated",
    "12b_truncated.json.gz": "damaged or cut short",
    "12c_two_ranks_one_file.json": "two writers wrote into one file",
    "12d_two_docs.json": "two documents, one after the other",
    "12h_utf16.json": "text in UTF-16",
    "18_only_python.json": "nothing to time",
    "23_duplicate_key.json": "two lists of traceEvents",
    "24_legacy_autograd.json": "nothing to time",
    "25_negative_dur.json": "kernel event 'gemm_kernel' has dur = -0.500",
    "26_no_events.json": "nothing to time",
    "26b_empty.json": "the file is empty",
    "39_ndjson.json": "one JSON value a line (ndjson)",
    "42_zipped.json": "a zip archive",
    "42_zipped.zip": "a zip archive",
    # Its launches are another process's than its ranges, and processes are never mixed.
    "43_launch_in_other_process.json": "stage ranges are in one process and GPU ops in another",
    "44b_nan_dur_kernel.json": "kernel event 'gemm_kernel' has dur",
    "44c_kernel_without_dur.json": "kernel event 'gemm_kernel' has no dur",
    "45b_nsys.sqlite": "an SQLite database",
    "45c_python_pickle.json": "a Python pickle",
}
#: Several runs or ranks, each as the baseline.
SEVERAL = {
    "03_merged_ranks_dev0.json": [(0, 0), (0, 1)],
    "03b_merged_ranks_dev01.json": [(0, 0), (0, 1)],
    "03d_merged_unique_ids.json": [(0, 0), (0, 1)],
    "16b_three_runs.json": [(0, 0), (1, 0), (2, 0)],
    "22_two_threads.json": [(0, 0), (1, 0)],
}
ELSEWHERE = {
    "16_generate_alone_x3.json",
    "37_subus_kernels.json",
    "52_two_runs_second_without_stages.json",
}


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    """The folder of cases."""
    return shared / "cases"


def outcome(path: Path) -> Outcome:
    source = TraceSource(location=str(path), name=path.name, sample_id="s")
    return analyze_trace(source, Settings(debug=True))


def run_of(row: dict[str, Any]) -> int | None:
    """The number of a row's run: of several, each is a sample `s#0`, `s#1` …"""
    sample, repeat = row["sample_id"], row["repeat"]
    return int(sample.split("#")[1]) if "#" in sample else repeat


def windows_us(found: Outcome) -> dict[tuple[int | None, int], dict[str, float]]:
    assert found.result, found.rejection
    runs: dict[tuple[int | None, int], dict[str, float]] = {}
    for row in found.result.tables["stages"].to_pylist():
        runs.setdefault((run_of(row), row["rank"]), {})[row["stage"]] = row["window_ns"] / 1000
    return runs


def said(found: Outcome) -> dict[str, str]:
    """Codes of everything that is said, and the words."""
    assert found.result, found.rejection
    warnings = [*found.result.summary.warnings, *(w for r in found.result.runs for w in r.warnings)]
    return {w.code: f"{w.message} {w.evidence} {w.remedy}" for w in warnings}


def checks_hold(found: Outcome) -> bool:
    assert found.result
    checks = [
        *found.result.summary.checks,
        *(check for r in found.result.runs for check in r.checks),
    ]
    return all(check.holds for check in checks)


def test_every_case_has_a_test(cases: Path) -> None:
    known: set[str] = set(ELSEWHERE).union(AS_BASELINE, SAID, INTEGRITY, REFUSED, SEVERAL)
    assert {path.name for path in cases.iterdir()} - {"README.md"} == known


@pytest.mark.parametrize("name", AS_BASELINE)
def test_a_case_that_must_read_as_the_baseline_does(cases: Path, name: str) -> None:
    found = outcome(cases / name)
    assert windows_us(found) == {(0, 0): BASELINE}
    assert said(found).keys() >= AS_BASELINE[name]
    assert checks_hold(found)


@pytest.mark.parametrize("name", SEVERAL)
def test_several_runs_or_ranks_are_each_as_the_baseline(cases: Path, name: str) -> None:
    found = outcome(cases / name)
    assert windows_us(found) == dict.fromkeys(SEVERAL[name], BASELINE)
    assert checks_hold(found)


@pytest.mark.parametrize("name", SAID)
def test_a_case_that_reads_otherwise_says_why(cases: Path, name: str) -> None:
    found = outcome(cases / name)
    code, words = SAID[name]
    assert words in said(found)[code]
    assert "record on a GPU" not in said(found)[code] or name == "36_mps.json"
    assert checks_hold(found)


@pytest.mark.parametrize("name", REFUSED)
def test_a_case_that_must_be_refused_is_in_words(cases: Path, name: str) -> None:
    rejection = outcome(cases / name).rejection
    assert rejection
    assert REFUSED[name] in rejection.reason
    assert rejection.remedy
    assert name not in rejection.reason, "the name is printed before it"


@pytest.mark.parametrize("name", INTEGRITY)
def test_a_case_with_figures_that_are_wrong_warns(cases: Path, name: str) -> None:
    assert said(outcome(cases / name)).keys() & INTEGRITY[name]


def test_generate_ranges_alone_are_runs(cases: Path) -> None:
    found = outcome(cases / "16_generate_alone_x3.json")
    assert windows_us(found) == {(n, 0): {"other": 129} for n in range(3)}
    assert "no_stage_ranges" in said(found)
    assert checks_hold(found)


def test_sub_microsecond_kernels_are_exact(cases: Path) -> None:
    found = outcome(cases / "37_subus_kernels.json")
    assert windows_us(found) == {(0, 0): {"prefill": 48.202, "decode": 65.006, "other": 15.792}}


def test_all_tables_name_what_is_in_no_stage_alike(cases: Path) -> None:
    found = outcome(cases / "52_two_runs_second_without_stages.json")
    assert found.result
    idle = {
        (run_of(row), row["stage"])
        for row in found.result.tables["idle"].to_pylist()
        if row["cause"] == "sync"
    }
    stages = {(run_of(row), row["stage"]) for row in found.result.tables["stages"].to_pylist()}
    assert (1, "other") in idle
    assert idle <= stages


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("00_baseline.json", 0),
        ("16_generate_alone_x3.json", 0),
        ("08_generate_zero_length.json", 1),
        ("19_begin_end_ranges.json", 1),
        ("33_external_id_only.json", 1),
    ],
)
def test_the_exit_code_tells_what_is_unattributed_as_a_whole(
    cases: Path, name: str, code: int
) -> None:
    assert analyze(cases / name).exit_code == code


def named(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.endswith(".json"))


def plain_figures(data: bytes) -> Figures:
    """Of the text with its damage taken out by hand."""
    text = data.decode("utf-8-sig", "replace").replace("\\c", "/c").replace("\\_", "/_")
    for token in ("-nan(ind)", "-inf", "-nan", "inf", "nan"):
        text = text.replace(f": {token}", ": null")
    return figures(text)


@pytest.mark.parametrize("name", named({*AS_BASELINE, *SAID, *INTEGRITY, *ELSEWHERE}))
def test_figures_are_those_of_the_plain_reading(cases: Path, name: str) -> None:
    plain = plain_figures((cases / name).read_bytes())
    found = outcome(cases / name)
    assert found.result
    mine = {
        (run_of(row), row["stage"]): (row["window_ns"], row["busy_ns"] or 0, row["gpu_ops"])
        for row in found.result.tables["stages"].to_pylist()
    }
    wanted = {key: (row.window, row.busy, row.ops) for key, row in plain.items()}
    nothing = (0, 0, 0)
    assert {k: v for k, v in mine.items() if v != nothing} == {
        k: v for k, v in wanted.items() if v != nothing
    }
