"""docs/architecture.md names what is there."""

import re
from importlib import import_module
from typing import get_args

import pytest

from tests.paths import REPOSITORY
from trace_timing.records.findings import CheckName

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
STOPS = re.findall(r"^\d+\. `(trace_timing[\w.]+)`", PAGE, re.MULTILINE)


@pytest.mark.parametrize("stop", STOPS)
def test_each_stop_of_the_two_walks_is_in_the_code(stop: str) -> None:
    parts = stop.split(".")
    found = None
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if not stop.startswith(str(error.name)):
                pytest.skip(f"needs {error.name}")
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        break
    assert found is not None


def test_each_walk_has_at_most_ten_stops() -> None:
    walks = re.findall(r"^## From .*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert [len(re.findall(r"^\d+\. ", walk, re.MULTILINE)) <= 10 for walk in walks] == [True, True]


def test_every_check_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?!from)", PAGE.split("## Checks")[1], re.MULTILINE)
    assert set(get_args(CheckName)) <= set(rows)
