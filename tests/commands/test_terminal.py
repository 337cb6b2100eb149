"""What `analyze` prints: to a terminal in colour, to a pipe and under NO_COLOR without."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import SAMPLE_TRACES

pytestmark = pytest.mark.slow
TRACE = next((SAMPLE_TRACES / "traces").glob("short*"))
#: SGR codes that set a colour: 30–38, 40–48, 90–97, 100–107.
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


def command(folder: Path) -> list[str]:
    out = str(folder / "out")
    return [sys.executable, "-m", "trace_timing", "analyze", str(TRACE), "-o", out, "--no-report"]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed: this is how a terminal ends on Linux
        return b""


def on_a_terminal(folder: Path, **environment: str) -> str:
    """What the command writes to a pseudo-terminal."""
    return on_a_terminal_run(command(folder)[3:], **environment)


def on_a_terminal_run(arguments: list[str], *, code: int = 0, **environment: str) -> str:
    """What `trace-timing` with these arguments writes to a pseudo-terminal."""
    primary, secondary = pty.openpty()
    surroundings = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "trace_timing", *arguments],
        stdout=secondary,
        stderr=secondary,
        env={**surroundings, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(secondary)
    written = b""
    while select.select([primary], [], [], 60)[0] and (some := _read(primary)):
        written += some
    os.close(primary)
    assert process.wait(timeout=60) == code
    return written.decode()


def test_a_terminal_gets_each_stage_in_its_colour(tmp_path: Path) -> None:
    assert COLOUR.search(on_a_terminal(tmp_path))


def test_no_color_is_obeyed_on_a_terminal(tmp_path: Path) -> None:
    text = on_a_terminal(tmp_path, NO_COLOR="1")
    assert "Prefill" in text
    assert not COLOUR.search(text)


@pytest.mark.parametrize(("columns", "lines"), [(40, 30), (80, 22), (120, 22), (200, 22)])
def test_nothing_is_cut_or_wider_than_the_terminal(
    tmp_path: Path, columns: int, lines: int
) -> None:
    text = on_a_terminal(tmp_path, COLUMNS=str(columns), NO_COLOR="1")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(len(line) for line in plain if not line.startswith("samples:")) <= columns
    assert len(plain) <= lines
    assert "…" not in text
    for stage in ("Vision encoder", "Prefill", "Decode", "Sampling"):
        assert any(stage in line and line.count(" ms") >= 2 for line in plain)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_stream_gets_what_its_encoding_can_take(tmp_path: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "100"}
    environment.pop("PYTHONUTF8", None)
    done = subprocess.run(command(tmp_path), capture_output=True, check=True, env=environment)
    text = (done.stdout + done.stderr).decode(encoding)
    assert "Decode" in text
    assert ("■" in text) == (encoding == "utf-8")
    assert "\\u" not in text
    header, *rows = text.splitlines()[1:7]
    ends = {line.rindex(" ms ") for line in rows if line.count(" ms") == 2}
    assert len(ends) == 1  # columns stay columns
    assert header.startswith("stage")


def test_names_and_messages_reach_an_ascii_stream_written_out(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    name = "f\u00fcr \u4f60\u597d.json"
    for arguments in (["view", name], ["capture", "--help"], ["nothing\u4f60"]):
        done = subprocess.run(
            [sys.executable, "-m", "trace_timing", *arguments],
            capture_output=True, check=False, cwd=tmp_path, env=environment,
        )  # fmt: skip
        text = (done.stdout + done.stderr).decode("ascii")
        assert "Traceback" not in text
        assert "UnicodeEncodeError" not in text
    assert "\\u4f60" in text


def test_a_full_stdout_is_told_in_a_line_and_the_files_are_there(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert first == "error: stdout cannot be written"
    assert len(rest) == 2
    assert (tmp_path / "out" / "samples.csv").exists()


def test_a_pipe_gets_no_escape_sequence(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path), capture_output=True, check=True)
    assert b"\x1b" not in done.stdout + done.stderr
    assert b"Prefill" in done.stdout
