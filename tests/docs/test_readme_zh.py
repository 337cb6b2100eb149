"""README.zh.md says what README.md says: same sections, blocks, figures and links.

Words are a translator's; what can be compared without reading Chinese is compared here. A failure
says which lines to change in README.zh.md.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.paths import REPOSITORY

#: Each links to the other, on a line of its own.
TO_ENGLISH, TO_CHINESE = "[English](README.md)\n\n", "[中文](README.zh.md)\n\n"
_FENCE = re.compile(r"(?:<!-- [^\n]* -->\n)?^```\w*\n.*?^```$", re.MULTILINE | re.DOTALL)
#: Figures, with their thousands separators and decimals; not those inside names (H200, 8B).
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)*(?![\w.]*[A-Za-z])")
_LINK = re.compile(r"\]\(([^)]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def english() -> str:
    return (REPOSITORY / "README.md").read_text().replace(TO_CHINESE, "")


def chinese() -> str:
    return (REPOSITORY / "README.zh.md").read_text().replace(TO_ENGLISH, "")


def sections(text: str) -> list[str]:
    """What stands under each heading, in order; the first is under the title."""
    prose = _FENCE.sub("", text)
    return re.split(r"^#+ .*$", prose, flags=re.MULTILINE)[1:]


def headings(text: str) -> list[str]:
    """Headings outside blocks."""
    return re.findall(r"^#+ .*$", _FENCE.sub("", text), flags=re.MULTILINE)


def test_the_same_number_of_headings_of_the_same_depth() -> None:
    depths = [[len(h.split()[0]) for h in headings(text)] for text in (english(), chinese())]
    assert depths[0] == depths[1], (
        f"README.zh.md has other sections: README.md {headings(english())}, "
        f"README.zh.md {headings(chinese())}"
    )


def test_every_block_is_there_to_the_letter_with_its_mark() -> None:
    ours, theirs = _FENCE.findall(chinese()), _FENCE.findall(english())
    missing = [block for block in theirs if block not in ours]
    extra = [block for block in ours if block not in theirs]
    message = "copy these blocks into README.zh.md:\n" + "\n".join(missing)
    assert ours == theirs, message + "\nin place of:\n" + "\n".join(extra)


@pytest.mark.parametrize(
    ("what", "pattern"), [("figure", _NUMBER), ("link", _LINK), ("code", _CODE)]
)
def test_every_section_has_the_same_figures_links_and_code(
    what: str, pattern: re.Pattern[str]
) -> None:
    told = []
    titles = headings(english())
    pairs = zip(titles, sections(english()), sections(chinese()), strict=True)
    for title, original, translated in pairs:
        wanted, there = (Counter(pattern.findall(text)) for text in (original, translated))
        missing, extra = wanted - there, there - wanted
        if missing or extra:
            told.append(
                f"section '{title}': README.zh.md lacks {what}s {dict(missing)} "
                f"and has others {dict(extra)}"
            )
    assert not told, "change README.zh.md:\n" + "\n".join(told)


def test_tables_have_the_same_rows() -> None:
    rows = [
        [line.count("|") for line in text.splitlines() if line.startswith("|")]
        for text in (english(), chinese())
    ]
    assert rows[0] == rows[1], "a table of README.zh.md has other rows or columns"


def test_each_links_to_the_other() -> None:
    assert TO_CHINESE in (REPOSITORY / "README.md").read_text()
    assert TO_ENGLISH in (REPOSITORY / "README.zh.md").read_text()
