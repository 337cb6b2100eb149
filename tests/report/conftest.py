"""Fixtures that open a page in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.browsing import Visit, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium; tests are skipped without one."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Visit]:
    """The module's `report`, opened at the size of a desktop screen."""
    one = Visit(browser, report, viewport={"width": 1280, "height": 900})
    yield one
    one.context.close()
