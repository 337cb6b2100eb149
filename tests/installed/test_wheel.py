"""The wheel holds what a user needs: the license, the types, the report's templates."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from tests.paths import REPOSITORY

CONSUMER = Path(__file__).with_name("consumer.py")
pytestmark = pytest.mark.slow
#: As a user has it who checks with `--strict`; torch is left out for the minute that it takes.
SETTINGS = """
[mypy]
strict = True
warn_unreachable = True
[mypy-torch.*,transformers.*,plotly.*,distributed.*]
follow_imports = skip
ignore_missing_imports = True
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_it_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "trace_timing"]
    tracked = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    expected = {name for name in tracked.stdout.splitlines() if (REPOSITORY / name).is_file()}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert "trace_timing/py.typed" in names


def test_the_license_is_in_it_and_named(wheel: Path, metadata: Message) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/licenses/LICENSE"))
        assert archive.read(name) == (REPOSITORY / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "MIT"


def test_it_names_the_projects_pages(metadata: Message) -> None:
    named = {line.split(",")[0] for line in metadata.get_all("Project-URL", [])}
    assert {"Homepage", "Issues", "Changelog"} <= named


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has the wheel; what it depends on comes from this one."""
    folder = tmp_path_factory.mktemp("user")
    venv.create(folder, with_pip=False)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def checked(program: Path, python: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    settings = folder / "mypy.ini"
    settings.write_text(SETTINGS)
    command = ["mypy", "--config-file", settings, "--python-executable", python, program]
    # Neither this checkout nor its settings: what is typed has to be in the wheel.
    surroundings = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_users_strict_program_is_typed_throughout(installed: Path, tmp_path: Path) -> None:
    # Where it lies mypy would find this checkout's package, not the wheel's.
    program = tmp_path / CONSUMER.name
    program.write_text(CONSUMER.read_text())
    done = checked(program, installed, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_use_of_it_is_found(installed: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text('import trace_timing\ntrace_timing.analyze("x", jobs="two")\n')
    done = checked(wrong, installed, tmp_path)
    assert done.returncode == 1
    assert 'Argument "jobs"' in done.stdout
