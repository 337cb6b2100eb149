"""Fixtures that every layer's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine makes an example slow, and that is no failure of what is tested.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

REPOSITORY = Path(__file__).resolve().parent.parent


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
