"""Fixtures that every layer's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.expected_skips import OPTION, UnexpectedSkips
from tests.paths import REPOSITORY

# A loaded machine makes an example slow, and that is no failure of what is tested. In CI one commit
# gives one verdict: examples are the same each time. Runs of developers go on searching.
settings.register_profile(
    "house",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option with which `.ci/run` calls pytest."""
    parser.addoption(OPTION, action="store_true", help="fail on skips not in expected_skips.py")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the skips where asked to; under xdist the parent alone sees all reports."""
    if config.getoption(OPTION) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(UnexpectedSkips())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what reads the recorded traces, so that `-m "not shared"` leaves it out."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded traces beside the checkout; tests that need it skip without it."""
    folder = Path(os.environ.get("TRACE_TIMING_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "traces").is_dir():
        pytest.skip("no recorded traces beside the checkout")
    return folder


@pytest.fixture(scope="session")
def h200(shared: Path) -> Path:
    """Real traces of an NVIDIA H200."""
    return shared / "traces" / "h200"


@pytest.fixture(scope="session")
def peers(shared: Path) -> Path:
    """Public traces of other tools and machines."""
    return shared / "traces" / "peers"
