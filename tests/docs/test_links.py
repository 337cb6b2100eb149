"""What the pages name is there: files, folders, links, and the names in CONTRIBUTING."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.paths import REPOSITORY

PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").glob("*.md"),
        *(REPOSITORY / ".github").glob("*.md"),
    ]
)
#: Of the project's own folders; what stands in a capture or report directory is named otherwise.
_OWN = re.compile(
    r"`((?:trace_timing|tests|docs|benchmarks|sample_traces|\.ci|\.github)/[\w./-]*\w)`"
)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
#: A link to a heading: the page (empty for the same one) and the heading's anchor.
_TO_HEADING = re.compile(r"\]\(([^):#]*)#([^)]+)\)")


def _module(path: Path) -> Path:
    """`benchmarks/read` is run as a module, and named without its ending."""
    return path.with_name(path.name + ".py")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_links_of_a_page_are_there(page: Path) -> None:
    text = page.read_text()
    named = [REPOSITORY / name for name in _OWN.findall(text)]
    named += [page.parent / link for link in _LINK.findall(text)]
    missing = [str(path) for path in named if not (path.exists() or _module(path).exists())]
    assert not missing, f"{page.name} names {missing}"


def _anchors(page: Path) -> set[str]:
    """The anchors that a code host gives a page's headings, of equal ones the first alone."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_headings_that_a_page_links_to_are_there(page: Path) -> None:
    linked = [
        (page.parent / name if name else page, anchor)
        for name, anchor in _TO_HEADING.findall(page.read_text())
    ]
    pages = [(to, anchor) for to, anchor in linked if to.suffix == ".md"]
    missing = [f"{to.name}#{anchor}" for to, anchor in pages if anchor not in _anchors(to)]
    assert not missing, f"{page.name} links to {missing}"


def test_the_words_that_contributing_names_are_in_the_code() -> None:
    """Names in `code` of CONTRIBUTING.md that are no path, command or option."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    names = set(re.findall(r"`([A-Z]\w+|[a-z]+_[a-z_]+)`", text))
    code = "\n".join(path.read_text() for path in (REPOSITORY / "trace_timing").rglob("*.py"))
    code += "\n".join(path.read_text() for path in (REPOSITORY / "tests").rglob("*.py"))
    assert len(names) >= 8
    assert not {name for name in names if not re.search(rf"\b{name}\b", code)}
