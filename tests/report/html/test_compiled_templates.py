"""Compiled templates: reused, compiled again if damaged, and no error if not writable."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import pytest

from trace_timing.report.html.compiled_templates import CompiledTemplates


def rendered(folder: Path, kept: Path) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), bytecode_cache=CompiledTemplates(kept)
    )
    return environment.get_template("a.j2").render(name="x")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "a.j2").write_text("one {{ name }}")
    return tmp_path


def test_a_template_is_compiled_once_and_again_when_its_text_changes(folder: Path) -> None:
    kept = folder / "kept"
    assert rendered(folder, kept) == "one x"
    (file,) = kept.iterdir()
    written = file.stat().st_mtime_ns
    assert rendered(folder, kept) == "one x"
    assert file.stat().st_mtime_ns == written
    (folder / "a.j2").write_text("two {{ name }}")
    assert rendered(folder, kept) == "two x"


@pytest.mark.parametrize("length", [0, 3, 10, 40, 60, 100])
def test_a_damaged_one_is_compiled_anew(folder: Path, length: int) -> None:
    kept = folder / "kept"
    rendered(folder, kept)
    (file,) = kept.iterdir()
    file.write_bytes(file.read_bytes()[:length])
    assert rendered(folder, kept) == "one x"


def test_where_nothing_can_or_may_be_written_nothing_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("")
    assert rendered(folder, folder / "file") == "one x"
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert rendered(folder, folder / "kept") == "one x"
    assert not (folder / "kept").exists()
