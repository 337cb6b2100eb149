"""A gate that skips a test for a reason that nobody listed fails, and says which."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.expected_skips import OPTION, is_expected
from tests.paths import REPOSITORY

pytestmark = pytest.mark.slow
#: The project's own hooks, on a test folder of its own.
CONFTEST = "from tests.conftest import pytest_addoption, pytest_configure\n"
LISTED = "import pytest\ndef test_a(): pytest.skip('no recorded traces beside the checkout')\n"
UNLISTED = "import pytest\ndef test_b(): pytest.skip('the wind blows')\n"
WHOLE_MODULE = "import pytest\npytest.importorskip('no_such_package')\ndef test_c(): pass\n"
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail\ndef test_d(): assert False\n"


def gate(folder: Path, *tests: str, options: tuple[str, ...] = (OPTION,)) -> tuple[int, str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_passes.py").write_text("def test_passes(): pass\n")
    for number, text in enumerate(tests):
        (folder / f"test_{number}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, folder],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_skips_that_are_listed_and_expected_failures_pass(tmp_path: Path) -> None:
    status, told = gate(tmp_path, LISTED, EXPECTED_FAILURE)
    assert (status, "unexpected skips" in told) == (0, False), told


@pytest.mark.parametrize("processes", ["0", "2"])
def test_another_skip_fails_and_is_named(tmp_path: Path, processes: str) -> None:
    status, told = gate(tmp_path, LISTED, UNLISTED, WHOLE_MODULE, options=(OPTION, "-n", processes))
    assert status == 1
    assert "the wind blows" in told
    assert "could not import 'no_such_package'" in told
    assert "no recorded traces" not in told


def test_without_the_option_a_skip_is_a_skip(tmp_path: Path) -> None:
    assert gate(tmp_path, UNLISTED, options=())[0] == 0


def test_a_reason_has_to_fit_as_a_whole() -> None:
    assert is_expected("Skipped: needs an NVIDIA GPU")
    assert not is_expected("Skipped: needs an NVIDIA GPU of tomorrow")
