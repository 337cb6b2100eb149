"""Old rows are judged by what they say themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stats.older_rows import known_rows, row
from trace_timing.errors import NothingReadError, UsageError
from trace_timing.records.findings import FigureWarning
from trace_timing.stats.audit.annotated_copy import cleaned_rows
from trace_timing.stats.audit.audit import audit
from trace_timing.stats.audit.read_results import OlderResults, read_older
from trace_timing.stats.audit.row_validity import ROUNDING_MS, judge
from trace_timing.stats.audit.step_count import step_rate


def older(tmp_path: Path, rows: list[dict[str, Any]]) -> OlderResults:
    path = tmp_path / "older.json"
    rows = [{"sample_id": i, **r} for i, r in enumerate(rows)]
    path.write_text(json.dumps({"tier": "high", "per_sample_results": rows}))
    return read_older(path)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> OlderResults:
    return older(tmp_path_factory.mktemp("known"), known_rows())


class TestTheKnownFile:
    def test_finds_457_of_2000_with_their_mean_and_range(self, results: OlderResults) -> None:
        overall = audit(results).overall
        assert (overall.rows, overall.negative, overall.zero_decode) == (2_000, 457, 457)
        assert overall.negative_frac == pytest.approx(0.2285)
        assert overall.negative_mean_ms == pytest.approx(-21.73, abs=0.005)
        assert overall.negative_min_ms == pytest.approx(-53.13)
        assert overall.negative_max_ms == pytest.approx(-0.04)

    def test_shows_the_arithmetic_of_sample_0(self, results: OlderResults) -> None:
        first = audit(results).negatives[0]
        assert first.sample_id == "0"
        assert (first.total_ms, first.vision_ms, first.prefill_ms) == (335.32, 181.28, 207.17)
        assert first.difference_ms == pytest.approx(-53.13)
        assert first.recorded_ms == 0


@pytest.mark.parametrize(
    ("pattern", "zeros", "mean"),
    [("*imgsizetier*", 4, -58.46), ("*full-forward*", 20, -26.13)],
)
def test_reproduces_what_is_known_of_the_recorded_files(
    shared: Path, pattern: str, zeros: int, mean: float
) -> None:
    (path,) = (shared / "legacy").glob(pattern)
    result = audit(read_older(path))
    assert result.overall.zero_decode == result.overall.negative == zeros
    assert result.overall.negative_mean_ms == pytest.approx(mean, abs=0.005)
    assert all(negative.output_tokens == 1 for negative in result.negatives)
    assert result.reasons["one_token_no_decode_step"] == 20
    assert result.reasons["vit_exceeds_vision_total"] == 6
    one = next(g for g in result.groups if (g.column, g.value) == ("output_tokens", "1"))
    assert (one.rows, one.valid) == (20, 0)


def test_names_the_fencepost_on_the_recorded_files(shared: Path) -> None:
    for path in (shared / "legacy").glob("*.json"):
        fencepost = audit(read_older(path)).fencepost
        assert fencepost is not None
        assert fencepost.divisor == "tokens"
        assert fencepost.zero_at_tokens == pytest.approx(1, abs=0.15)
        assert fencepost.verdict.startswith("steps are N − 1")


def test_a_constant_step_read_per_token_seems_to_grow(tmp_path: Path) -> None:
    rows = [row(n, 100 + 47.0 * (n - 1), 40, 60) for n in (2, 2, 4, 8, 16, 32)]
    fencepost = audit(older(tmp_path, rows)).fencepost
    assert fencepost is not None
    assert fencepost.line is not None
    assert fencepost.line.slope == pytest.approx(47)
    assert fencepost.zero_at_tokens == pytest.approx(1)
    assert fencepost.by_length[0].per_token_ms == pytest.approx(23.5)
    assert [rate.per_step_ms for rate in fencepost.by_length] == pytest.approx([47] * 5)


def test_no_fencepost_is_named_where_each_token_takes_a_step(tmp_path: Path) -> None:
    rows = [row(n, 100 + 47.0 * n, 40, 60) for n in (2, 2, 4, 8, 16, 32)]
    fencepost = audit(older(tmp_path, rows)).fencepost
    assert fencepost is not None
    assert fencepost.zero_at_tokens == pytest.approx(0)
    assert fencepost.verdict.startswith("cannot tell")


def test_one_token_is_invalid_whatever_decode_says(tmp_path: Path) -> None:
    judged = judge(older(tmp_path, [row(1, 120, 40, 60), row(2, 150, 40, 60)]))
    assert judged.valid.tolist() == [False, True]
    assert judged.reasons == (("one_token_no_decode_step",), ())


def test_the_difference_at_one_token_is_the_error_of_the_rest(tmp_path: Path) -> None:
    rows = [row(1, 100 + error, 40, 60) for error in (-30, 10, 11, 12, 13)]
    bias = audit(older(tmp_path, rows)).bias
    assert bias is not None
    assert (bias.rows, bias.negative, bias.median_ms) == (5, 1, 11)


def test_missing_and_contradictory_figures_are_named(tmp_path: Path) -> None:
    rows = [
        row(3, 150, 40, 60, T_vit=41.0),
        row(3, 150, 40, 60) | {"T_total": None},
    ]
    judged = judge(older(tmp_path, rows))
    assert judged.reasons == (("vit_exceeds_vision_total",), ("missing_figure",))


def test_cleaning_keeps_every_row_and_figure(tmp_path: Path) -> None:
    results = older(tmp_path, [row(1, 90, 40, 60), row(3, 90, 40, 60), row(3, 200, 40, 60)])
    rows = cleaned_rows(results, judge(results), estimate=True)
    for before, after in zip(results.records, rows, strict=True):
        assert {name: after[name] for name in before} == dict(before)
    assert [r["T_LLM_decode_negative"] for r in rows] == [-10, -10, None]
    assert [r["T_LLM_decode_unclamped"] for r in rows] == [-10, -10, 100]


def test_an_estimate_counts_steps_and_stays_apart(tmp_path: Path) -> None:
    results = older(tmp_path, [row(1, 90, 40, 60), row(4, 90, 40, 60), row(3, 200, 40, 60)])
    assert step_rate(results, judge(results)) == (50.0, None)
    rows = cleaned_rows(results, judge(results), estimate=True)
    assert [r["T_LLM_decode_estimated"] for r in rows] == [None, 150.0, None]
    assert [r["T_LLM_decode_is_estimate"] for r in rows] == [False, True, False]
    assert rows[1]["T_LLM_decode"] == 0
    assert "T_LLM_decode_estimated" not in cleaned_rows(results, judge(results))[1]


def test_decode_timed_by_itself_is_told_from_a_difference(tmp_path: Path) -> None:
    rows = [row(3, 200, 40, 60) | {"T_LLM_decode": 95.0}, row(3, 200, 40, 60)]
    codes = [warning.code for warning in audit(older(tmp_path, rows)).findings]
    assert "decode_not_the_difference" in codes


def findings(tmp_path: Path, rows: list[dict[str, Any]]) -> dict[str, FigureWarning]:
    return {warning.code: warning for warning in audit(older(tmp_path, rows)).findings}


#: 47 ms a step, divided by tokens: of three lengths.
STEADY = [row(n, 100 + 47.0 * (n - 1), 40, 60) for n in (2, 4, 8)]


def test_a_rate_divided_by_tokens_is_named_with_what_a_step_takes(tmp_path: Path) -> None:
    found = findings(tmp_path, STEADY)
    assert set(found) == {"per_token_divides_by_n"}
    assert "at 2 tokens it reads 23.50 ms where a step takes 47.00 ms" in (
        found["per_token_divides_by_n"].evidence
    )


def test_a_rate_divided_by_steps_and_no_rate_at_all_are_right(tmp_path: Path) -> None:
    by_steps = [r | {"T_decode_per_token": 47.0} for r in STEADY]
    assert findings(tmp_path, by_steps) == {}
    by_none = [r | {"T_decode_per_token": 31.0 + i} for i, r in enumerate(STEADY)]
    assert findings(tmp_path, by_none) == {}, "divided by neither: nothing is said"


@pytest.mark.parametrize(
    ("error", "verdict"), [(12.0, "12.00 ms too high"), (-7.5, "7.50 ms too low")]
)
def test_rows_of_one_token_show_the_error_that_the_others_share(
    tmp_path: Path, error: float, verdict: str
) -> None:
    one = {"T_decode_per_token": None}
    found = findings(tmp_path, [*STEADY, row(1, 100 + error, 40, 60) | one])
    assert set(found) == {"per_token_divides_by_n", "survivors_biased"}
    assert verdict in found["survivors_biased"].message
    assert found["survivors_biased"].evidence.startswith("1 rows with one output token")
    assert f"{error:.2f} to {error:.2f} ms" in found["survivors_biased"].evidence


def test_the_divisor_is_that_of_all_rows_or_of_none(tmp_path: Path) -> None:
    # The row of two tokens alone would say "tokens"; those with one token say nothing.
    other = [STEADY[0], *(r | {"T_decode_per_token": 99.0} for r in STEADY[1:])]
    assert findings(tmp_path, other) == {}
    one = row(1, 130, 40, 60) | {"T_decode_per_token": 99.0}
    assert "per_token_divides_by_n" in findings(tmp_path, [*STEADY, one])


def test_an_estimate_has_the_bounds_of_the_rate_times_its_steps(tmp_path: Path) -> None:
    valid = [row(2, 100 + ms, 40, 60) for ms in (48, 49, 50, 51, 52, 53)]
    results = older(tmp_path, [*valid, row(4, 90, 40, 60)])
    judged = judge(results)
    rate = step_rate(results, judged)
    assert rate is not None
    assert rate[1] is not None
    assert 48 <= rate[1].low < 50.5 < rate[1].high <= 53
    names = [f"T_LLM_decode_estimated{end}" for end in ("", "_lo", "_hi")]
    *good, wrong = cleaned_rows(results, judged, estimate=True)
    assert [wrong[n] for n in names] == [3 * ms for ms in (50.5, rate[1].low, rate[1].high)]
    assert [good[0][n] for n in names] == [None] * 3


def test_ids_that_several_rows_share_are_counted(tmp_path: Path) -> None:
    rows = [row(3, 150, 40, 60) | {"sample_id": i, "T_decode_per_token": 25.0} for i in "abaca"]
    found = findings(tmp_path, rows)
    assert set(found) == {"repeated_sample_ids"}
    assert found["repeated_sample_ids"].evidence == "2 of 5 rows repeat an earlier id"


def test_decode_may_differ_from_the_difference_by_rounding_alone(tmp_path: Path) -> None:
    near = [
        row(3, 150, 40, 60) | {"T_decode_per_token": 25.0, "T_LLM_decode": 50 + ROUNDING_MS - 1e-6}
    ]
    assert findings(tmp_path, near) == {}
    far = [near[0] | {"T_LLM_decode": 50 + ROUNDING_MS + 1e-6}, near[0]]
    found = findings(tmp_path, far)
    assert set(found) == {"decode_not_the_difference"}
    assert found["decode_not_the_difference"].evidence.endswith("in 1 of 2 rows")


def test_rows_are_counted_by_any_column(tmp_path: Path) -> None:
    rows = [row(3, 90, 40, 60, crops=c) for c in (1, 1, 12)]
    groups = audit(older(tmp_path, rows), by=["crops"]).groups
    assert [(g.value, g.rows) for g in groups if g.column == "crops"] == [("1", 2), ("12", 1)]
    with pytest.raises(UsageError, match="has no column nothing"):
        audit(older(tmp_path, rows), by=["nothing"])


def test_other_column_names_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,n,vis,pre,dec,all\na,2,40,60,50,150\nb,2,40,60,0,90\n")
    names = {
        "sample_id": "id",
        "output_tokens": "n",
        "T_vision_total": "vis",
        "T_LLM_prefill": "pre",
        "T_LLM_decode": "dec",
        "T_total": "all",
    }
    result = audit(read_older(path, names))
    assert (result.rows, result.valid, result.overall.negative) == (2, 1, 1)
    with pytest.raises(NothingReadError, match="lacks output_tokens"):
        read_older(path)
    with pytest.raises(UsageError, match="cannot map speed"):
        read_older(path, {"speed": "n"})


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"rows": []}', '{"per_sample_results": []}'])
def test_what_holds_no_rows_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(NothingReadError, match="bad"):
        read_older(path)
