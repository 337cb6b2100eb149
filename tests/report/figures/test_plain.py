"""Every figure of a real report, built without plotly's checks, passes these checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.paths import SAMPLE_TRACES
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.analysis.result import Analysis
from trace_timing.report.figures.overview import run_stages, styled
from trace_timing.report.figures.plain import Figure
from trace_timing.report.figures.timeline import timeline

TRACE = sorted((SAMPLE_TRACES / "traces").glob("short*.json.gz"))[0]


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyze(TRACE)


def test_plotly_accepts_every_figure_of_the_pages(analysis: Analysis) -> None:
    data = analysis.report_data()
    figures = [figure for section in data.sections for figure in section.figures.values()]
    figures += [run_stages(data.stages), *map(timeline, data.details.values())]
    assert len(figures) > 5
    for figure in figures:
        assert len(figure.plotly().data) == len(figure.data) > 0


def test_plotly_accepts_every_figure_of_a_notebook(analysis: Analysis) -> None:
    shown = analysis.figures
    for figure in (shown.split(), shown.samples(), shown.distribution(), shown.kernels()):
        assert len(figure.data)
    assert len(shown.steps().data) > 1


def test_nested_properties_that_are_not_named_stay() -> None:
    figure = styled(Figure(), x="ms", height=200)
    figure.update_layout(margin={"l": 1}).update_xaxes(title={"text": ""})
    assert figure.layout["margin"] == {"l": 1, "r": 16, "t": 12, "b": 56}
    assert figure.layout["xaxis"]["title"] == {"text": "", "standoff": 8}


def test_what_plotly_does_not_know_is_told_by_it() -> None:
    with pytest.raises(ValueError, match="markre"):
        Figure().add_bar(x=np.arange(3), markre={"color": "red"}).plotly()


def test_a_report_loads_none_of_plotlys_objects(tmp_path: Path) -> None:
    code = (
        "import sys; from trace_timing.commands import main\n"
        f"sys.argv = ['trace-timing', 'analyze', {str(TRACE)!r}, '--no-cache', '-o', "
        f"{str(tmp_path / 'out')!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'plotly.graph_objs', 'narwhals', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (tmp_path / "out" / "report.html").exists()
    assert done.stdout.splitlines()[-1] == "[]"
