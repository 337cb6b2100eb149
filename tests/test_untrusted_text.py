"""Text of others commands neither a terminal nor a spreadsheet, and says what it was."""

from __future__ import annotations

import pytest

from trace_timing.untrusted_text import cell, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, für 日本 🙂\tx", "plain, für 日本 🙂\tx"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]8;;http://x\x07link", r"\x1b]8;;http://x\x07link"),
        ("\x9b2J", r"\x9b2J"),
        ("over\rwritten\b\x7f", r"over\x0dwritten\x08\x7f"),
        ("two\nlines", r"two\x0alines"),
        ("\u202egpj.exe\u2066", r"\u202egpj.exe\u2066"),
    ],
)
def test_what_would_command_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_lines_of_ours_stay_lines() -> None:
    assert printable("a\nb\x1b", lines=True) == "a\nb\\x1b"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]
)
def test_a_cell_that_begins_a_formula_gets_an_apostrophe(text: str) -> None:
    assert cell(text) == "'" + text.replace("\r", r"\x0d")


def test_a_cell_commands_no_terminal_and_keeps_its_lines() -> None:
    assert cell("a\x1b[2J\tb\nc") == "a\\x1b[2J\tb\nc"
    assert cell("=1\x1b") == "'=1\\x1b"


@pytest.mark.parametrize("text", ["", "a=1", "-5", "+3.5e-2", "-inf", "12", "decode[1]", "a-b"])
def test_numbers_and_other_text_stay_as_they_are(text: str) -> None:
    assert cell(text) == text


def test_a_number_with_something_around_it_is_none() -> None:
    assert cell("-5\n") == "'-5\n"
