"""A comparison as Markdown: markup in foreign names is escaped."""

from __future__ import annotations

from dataclasses import replace

from tests.stats.compared_tables import tables
from trace_timing.report.markdown import comparison_markdown
from trace_timing.stats.comparison.compare import compare
from trace_timing.stats.comparison.gates import check_gate, parse_gate


def test_a_change_stands_in_bold_with_its_bound() -> None:
    result = compare(tables(1), tables(2, decode=1.1))
    text = comparison_markdown(result, [check_gate(parse_gate("busy decode > 5%"), result)])
    assert "- **FAILS**: busy decode > 5.00% (ratio 1.099)" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| busy decode |"))
    assert row.split(" | ")[-1] == "**slower** |"
    assert text.startswith("### side 2 against side 1\n\nLatencies, 24 paired samples.\n")
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {7}


def test_names_are_text_whatever_they_hold() -> None:
    a, b = tables(1), tables(2, decode=1.1)
    name = "<img src=x> @everyone | `a` [b](http://c)\n# d"
    for side in (a, b):
        side.kernels["name"] = name
    text = comparison_markdown(compare(a, replace(b, source="*B*")))
    assert "### \\*B\\* against" in text
    assert "<img" not in text
    assert "\n# d" not in text
    (row,) = (line for line in text.splitlines() if "everyone" in line)
    assert "\\@everyone \\| \\`a\\` \\[b\\]\\(http://c\\)" in row
