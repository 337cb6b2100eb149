"""A comparison as a page and as sentences."""

from __future__ import annotations

from dataclasses import replace

from tests.stats.compared_tables import tables
from trace_timing.report.comparison_section import comparison_section
from trace_timing.report.comparison_text import needed_sentences
from trace_timing.stats.compared_figures import Tables
from trace_timing.stats.comparison import compare, pairs_needed
from trace_timing.stats.noise import NoiseFloor


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
    assert stages["ratio_lo"]["decode"] < 1.1 < stages["ratio_hi"]["decode"]
    assert any(text.startswith("Slower: decode ×1.10") for text in section.sentences)


def test_pairs_too_few_are_told_by_the_noise_of_runs_of_one_input() -> None:
    floor = NoiseFloor(figure="decode", frac=0.0191, of="controls", samples=3)
    sides = [replace(one_repeat(tables(seed, n=3)), noise=[floor]) for seed in (1, 2)]
    result = compare(*sides)
    decode = next(row for row in result.rows if row.name == "decode")
    assert (decode.verdict, decode.n) == ("cannot tell", 3)
    # √2 · 0.0191 ÷ 0.6745 = 4.0 %; without kernels decode has 0.4 of the 0.9 of α that is shared.
    assert decode.needed == pairs_needed(0.04005, 0.02 * 0.4 / 0.9) == 23
    said = needed_sentences(result)
    assert (
        "decode: 3 pairs cannot tell; controls of one input put their spread at 4.0%, so some 23 "
        "pairs would show a change of 3%."
    ) in said
    assert any(
        text.startswith("total, vision, prefill: nothing says how runs of one input differ")
        for text in said
    )


def test_a_wide_spread_of_the_pairs_themselves_is_told() -> None:
    a, b = (one_repeat(tables(seed, n=8)) for seed in (1, 2))
    b.samples.loc[b.samples.index[::3], "T_LLM_decode_ms"] *= 1.2
    (said,) = (text for text in needed_sentences(compare(a, b)) if text.startswith("decode"))
    assert said.startswith("decode: 8 pairs cannot tell; they spread by ")
    assert said.endswith("pairs would show a change of 3%.")


def one_repeat(side: Tables) -> Tables:
    return replace(side, samples=side.samples[side.samples["repeat"] == 0])
