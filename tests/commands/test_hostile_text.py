"""Ids, names and metadata of strangers reach terminal, CSV, JSON and report as text alone."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.commands.test_terminal import on_a_terminal_run
from tests.conftest import REPOSITORY

NAMES = (
    "=HYPERLINK(\"http://x\",\"y\")", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1,2)", "\t=1", "\r=1",
    "\x1b[31mred", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x9b31m",
    "\x1bc", "bell\x07", "back\x08\x08", "two\nlines", "over\rwrite", "\u202eright to left",
    "[bold red]markup[/]", "[link=http://x]y[/link]", "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>", "</script><script>alert(2)//",
    "{{7*7}}", "' OR 1=1 --", "javascript:alert(1)", "a" * 500,
)  # fmt: skip
#: What rich itself writes: colours and styles.
SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample capture with such ids and metadata, and a line of records that is none."""
    folder = tmp_path_factory.mktemp("hostile") / "capture"
    shutil.copytree(REPOSITORY / "sample_traces", folder)
    file = folder / "runs.rank0.jsonl"
    ids = {"short": NAMES[0], "medium": NAMES[6], "long": NAMES[18]}
    lines = []
    for line in file.read_text().splitlines():
        record = json.loads(line)
        record["sample_id"] = ids[record["sample_id"]]
        record["metadata"] |= {name: name for name in NAMES} | {"minus": -5, "text": "-5"}
        lines.append(json.dumps(record))
    lines.append(json.dumps({"sample_id": NAMES[8], "role": NAMES[7]}))
    file.write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of others whose ranges and kernels have such names."""
    events = []
    for number, name in enumerate(NAMES):
        at = 1000.5 + 100 * number
        place = {"ph": "X", "pid": 1, "tid": 1}
        events += [
            place | {"cat": "user_annotation", "name": name, "ts": at, "dur": 90},
            place | {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": at + 10, "dur": 5,
                     "args": {"correlation": number + 1}},
            {"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 7, "ts": at + 20,
             "dur": 50, "args": {"correlation": number + 1, "device": 0, "stream": 7}},
        ]  # fmt: skip
    path = tmp_path_factory.mktemp("hostile") / "trace\x1b[31m.json"
    path.write_text(json.dumps({"traceEvents": events}))
    return path


@pytest.fixture(scope="module")
def report(capture: Path, trace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "report"
    command = ["analyze", capture, trace, "-o", folder, "--by", NAMES[2], "--jobs", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "trace_timing", *map(str, command)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert_inert(done.stdout + done.stderr)
    assert "rejected: " in done.stderr
    return folder


def assert_inert(text: str) -> None:
    left = SGR.sub("", text).replace("\r\n", "\n")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", left)
    assert "\x1b[31mred" not in text


@pytest.mark.parametrize("command", ["analyze", "doctor"])
def test_a_terminal_is_told_and_not_commanded(
    command: str, capture: Path, trace: Path, tmp_path: Path
) -> None:
    output = ["-o", str(tmp_path / "out"), "--no-report"] if command == "analyze" else []
    # A dumb terminal gets no moving progress bar, whose own codes would hide others'.
    text = on_a_terminal_run([command, str(capture), str(trace), *output], code=1, TERM="dumb")
    assert_inert(text)
    assert r"\x1b" in text


def test_json_has_no_control_character_either(capture: Path, tmp_path: Path) -> None:
    command = ["analyze", capture, "-o", tmp_path / "out", "--no-report", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "trace_timing", *map(str, command)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert_inert(done.stdout)
    assert json.loads(done.stdout)["runs"] == 3


@pytest.mark.parametrize("file", ["samples.csv", "summaries.csv"])
def test_no_cell_is_a_formula_or_commands_a_terminal(report: Path, file: str) -> None:
    with (report / file).open(newline="", encoding="utf-8") as opened:
        rows = list(csv.reader(opened))
    cells = [cell for row in rows for cell in row]
    for text in cells:
        if text.startswith(("=", "+", "-", "@", "\t", "\r")):
            float(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", "".join(cells))
    assert "'" + NAMES[2] in cells
    if file == "samples.csv":
        assert r"\x1b[31mred" in cells
        named = dict(zip(rows[0], rows[1], strict=True))
        assert (named["minus"], named["text"]) == ("-5", "-5")


class Tags(HTMLParser):
    """Elements, and every attribute's name."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # A run's data is in a script of its own, which is not run.
        kind = dict(attrs).get("type") or ""
        self.tags.append(tag if not kind or "script" in kind else f"{tag} {kind}")
        self.attributes |= {name for name, _ in attrs}


def test_the_report_has_the_names_as_text_alone(report: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    samples = str(REPOSITORY / "sample_traces")
    command = [sys.executable, "-m", "trace_timing", "analyze", samples, "-o", str(plain)]
    subprocess.run(command, check=True, capture_output=True)
    hostile, sound = Tags(), Tags()
    hostile.feed((report / "report.html").read_text())
    sound.feed((plain / "report.html").read_text())
    assert hostile.tags.count("script") == sound.tags.count("script")
    assert hostile.tags.count("img") == sound.tags.count("img")
    assert not {name for name in hostile.attributes if name.startswith("on")} - sound.attributes
