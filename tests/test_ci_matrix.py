"""The workflow holds outputs against each other over every Python that the project names."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.paths import REPOSITORY


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    told = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
    found: dict[str, Any] = told["jobs"]
    return found


def minor(python: str) -> int:
    """The second number, as text alone has it: 3.10 as a float would be 3.1."""
    assert isinstance(python, str)
    return int(python.split(".")[1])


def test_no_python_between_the_lowest_and_the_newest_is_left_out(jobs: dict[str, Any]) -> None:
    matrix = jobs["values"]["strategy"]["matrix"]
    found = [minor(python) for python in matrix["python"]]
    project = (REPOSITORY / "pyproject.toml").read_text()
    required = re.search(r'requires-python = ">=3\.(\d+)"', project)
    assert required
    assert found == list(range(int(required[1]), max(found) + 1))
    ends = [minor(python) for python in jobs["fast"]["strategy"]["matrix"]["python"]]
    assert ends == [min(found), max(found)]


def test_the_lowest_dependencies_are_tried_with_the_lowest_python(jobs: dict[str, Any]) -> None:
    matrix = jobs["values"]["strategy"]["matrix"]
    lowest = [one["python"] for one in matrix["include"] if one["dependencies"] == "lowest"]
    assert min(matrix["python"], key=minor) in lowest
    assert jobs["same-values"]["needs"] == "values"
