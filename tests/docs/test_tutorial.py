"""The tutorial notebook runs from top to bottom on the sample traces, and shows what it stores."""

from __future__ import annotations

from typing import Any

import pytest

from tests.paths import REPOSITORY

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

pytestmark = pytest.mark.slow
NOTEBOOK = REPOSITORY / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def ran() -> Any:
    """The notebook after it ran, in the folder where a reader opens it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        nbclient.NotebookClient(
            notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
        ).execute()
    return notebook


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def stored() -> Any:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def told(notebook: Any) -> list[str]:
    """What its cells print, and the analysis that shows itself."""
    streams = [o.text for o in outputs(notebook) if o.output_type == "stream"]
    shown = next(o.data["text/html"] for o in outputs(notebook) if "data" in o)
    return [*streams, shown]


def test_what_it_stores_is_what_it_shows(stored: Any, ran: Any) -> None:
    # Where this fails: python docs/tutorial_outputs.py
    assert told(stored) == told(ran)


def test_it_can_be_read_where_nothing_runs(stored: Any) -> None:
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code)
    kinds = {kind for o in outputs(stored) if "data" in o for kind in o.data}
    assert kinds == {"text/html", "text/plain", "image/png"}
    assert NOTEBOOK.stat().st_size < 400_000
    nbconvert = pytest.importorskip("nbconvert")
    page, _ = nbconvert.HTMLExporter(template_name="basic").from_notebook_node(stored)
    assert page.count("data:image/png;base64,") == 2
    for words in ("The host is the limit", "T_LLM_prefill_ms", "decode step = "):
        assert words in page


def test_every_cell_runs_and_the_last_line_of_each_shows_something(ran: Any) -> None:
    code = [cell for cell in ran.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code)
    assert not [o for o in outputs(ran) if o.output_type == "error" or o.get("name") == "stderr"]


def test_the_analysis_shows_itself_and_figures_are_plotlys(ran: Any) -> None:
    data = [o.data for o in outputs(ran) if "data" in o]
    assert "Vision encoder" in data[0]["text/html"]
    drawn = [d for d in data if "application/vnd.plotly.v1+json" in d]
    assert len(drawn) == 2
    titles = [d["application/vnd.plotly.v1+json"]["layout"].get("title", {}) for d in drawn]
    assert titles[0]["text"] == "Decode latency by position"


def test_it_tells_the_slope_of_decode_with_its_interval(ran: Any) -> None:
    printed = "".join(o.text for o in outputs(ran) if o.output_type == "stream")
    assert "decode step = 7." in printed
    assert "µs a position" in printed
    assert "Recording made what was recorded" in printed
