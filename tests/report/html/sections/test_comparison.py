"""A comparison as a page and as sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.stats.compared_tables import tables
from trace_timing.report.html.sections.comparison import comparison_section
from trace_timing.report.terminal.comparison import launch_sentence, needed_sentences
from trace_timing.stats.comparison.compare import compare
from trace_timing.stats.comparison.figures import Tables


def test_the_page_has_every_verdict() -> None:
    result = compare(tables(1), tables(2, decode=1.1))
    section = comparison_section(result)
    shown = {
        name: verdict
        for title in ("Stages", "Kinds of work", "Kernels")
        for name, verdict in section.tables[title][["name", "verdict"]].itertuples(index=False)
    }
    assert shown == {row.name: row.verdict for row in result.rows}
    stages = section.tables["Stages"].set_index("name")
    assert stages["ratio_lo"]["busy decode"] < 1.1 < stages["ratio_hi"]["busy decode"]
    assert any(text.startswith("Slower: busy decode ×1.") for text in section.sentences)


def test_sentences_say_what_captures_would_show_and_how_many_would_show_less() -> None:
    result = compare(tables(1), tables(2))
    rows = {row.name: row for row in result.rows}
    assert rows["undisturbed step"].shown_frac == pytest.approx(0.14, abs=0.02)
    (sentence,) = needed_sentences(result)
    assert "(--also-a, --also-b) show smaller ones: total 20% from " in sentence
    # 2 · ((2.70 + 0.84) · 0.02 ÷ ln 1.03)² captures of steps that stray by 2 %.
    assert "undisturbed step 3% from 12 on" in sentence


def test_a_sentence_gives_the_launch_cost_that_is_divided_out() -> None:
    sentence = launch_sentence(compare(tables(1), tables(2, host=1.1, launches=1.1)))
    assert sentence is not None
    assert sentence.startswith("Ratios of total, vision, prefill, decode,")
    assert "cost ×1.1" in sentence
    assert launch_sentence(compare(tables(1), tables(2), basis="busy")) is None


def test_a_sentence_says_that_samples_are_too_few() -> None:
    a, b = (one_repeat(tables(seed, n=3)) for seed in (1, 2))
    assert needed_sentences(compare(a, b)) == [
        "total, vision, prefill, decode, undisturbed step: too few to tell; capture the same 4 "
        "samples or more on each side."
    ]


def test_a_sentence_gives_a_wide_spread_of_the_pairs_themselves() -> None:
    a, b = (one_repeat(tables(seed, n=8)) for seed in (1, 2))
    b.samples.loc[b.samples.index[::3], "T_LLM_decode_busy_ms"] *= 1.2
    sentences = needed_sentences(compare(a, b, basis="busy"))
    (sentence,) = (text for text in sentences if text.startswith("decode"))
    assert sentence.startswith("decode: 8 pairs cannot tell; they spread by ")
    assert sentence.endswith("pairs would show a change of 3%.")


def one_repeat(side: Tables) -> Tables:
    return replace(side, samples=side.samples[side.samples["repeat"] == 0])
