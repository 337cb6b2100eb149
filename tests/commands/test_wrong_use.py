"""Wrong uses: one line of what, why it is so, what to do, and the exit code of its kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.paths import SAMPLE_TRACES

TRACE = next((SAMPLE_TRACES / "traces").glob("short*"))
ROW = {"output_tokens": 2, "T_vision_total": 1, "T_LLM_prefill": 1, "T_LLM_decode": 1, "T_total": 3}
SAMPLE = b'{"id": "a", "prompt": "p"}\n'


@dataclass(frozen=True)
class Wrong:
    """A wrong use: the command line, its files, and what has to be said about it."""

    command: str
    says: tuple[str, ...]
    code: int = 2
    files: dict[str, bytes] | None = None
    capture: bool = False


def capturing(inputs: bytes, *says: str, more: str = "", code: int = 2) -> Wrong:
    """A capture of these samples by the smallest model."""
    command = f"capture --model tiny-llava --inputs s.jsonl -o out --control 1 {more}"
    return Wrong(command, says, code, files={"s.jsonl": inputs}, capture=True)


def deep(before: str, after: str) -> bytes:
    return (before + "[" * 100_000 + "]" * 100_000 + after).encode()


WRONG = {
    # Of the issue.
    "an unknown key": capturing(
        b'{"id": "a", "image_path": "x.png", "prompt": "p"}',
        "s.jsonl, line 1: unknown key image_path",
        "did you mean image?",
    ),
    "another name of the number of tokens": capturing(
        SAMPLE + b'{"id": "b", "max_tokens": 4}', "line 2", "did you mean max_new_tokens?"
    ),
    "Latin-1": capturing(
        b'{"id": "a", "prompt": "f\xfcr"}', "line 1 is not UTF-8", "0xfc", "iconv"
    ),
    "a misspelt preset": Wrong(
        "capture --model tiny-lava --inputs s.jsonl -o out",
        ("unknown preset 'tiny-lava'", "did you mean tiny-llava?"),
        files={"s.jsonl": SAMPLE},
        capture=True,
    ),
    "a GPU that is not there": capturing(
        SAMPLE, "--device cuda:99 is not on this machine", more="--device cuda:99"
    ),
    "a misspelt command": Wrong(
        "analyse x", ("there is no command analyse", "did you mean analyze?")
    ),
    "a misspelt column": Wrong(
        f"analyze {TRACE} -o out --no-report --by n_image",
        ("no column n_image", "name one of these"),
    ),
    "a misspelt column of old results": Wrong(
        "audit old.json --by output_token",
        ("has no column output_token", "did you mean output_tokens?"),
        files={"old.json": json.dumps([ROW]).encode()},
    ),
    "deep nesting": Wrong(
        "audit old.json", ("nested too deeply",), 3, files={"old.json": deep("", "")}
    ),
    "deep nesting in JSON lines": Wrong(
        "audit old.jsonl", ("nested too deeply",), 3, files={"old.jsonl": deep('{"a": ', "}\n")}
    ),
    "deep nesting in samples": capturing(
        deep('{"id": "a", "metadata": {"x": ', "}}"), "line 1 is not a sample", "nested too deeply"
    ),
    "deep nesting in a stage map": Wrong(
        f"analyze {TRACE} -o out --stages s.toml",
        ("cannot read the stage map", "nested too deeply"),
        files={"s.toml": deep("[stages]\ndecode = ", "\n")},
    ),
    "an output that cannot be": Wrong(
        f"analyze {TRACE} -o /proc/out --no-report", ("/proc/out: cannot be written", "-o")
    ),
    "a capture's output that cannot be": Wrong(
        "capture --model tiny-llava --inputs s.jsonl -o /proc/out",
        ("/proc/out: cannot be written", "-o"),
        files={"s.jsonl": SAMPLE},
        capture=True,
    ),
    "an image that is none": capturing(
        b'{"id": "a", "image": "x.png"}',
        "failed: a: image x.png cannot be read. No such file or directory",
        code=1,
    ),
    # And more of them.
    "a misspelt option": Wrong("analyze x --stagess auto", ("--stagess", "--stages")),
    "a number that is none": Wrong("analyze x --jobs many", ("'many'", "--help")),
    "no input": Wrong("analyze", ("missing argument 'PATHS...'", "trace-timing analyze --help")),
    "a misspelt stage map": Wrong(
        f"analyze {TRACE} -o out --stages vlm", ("no stage map vlm", "did you mean vllm?")
    ),
    "a misspelt stage": Wrong(
        f"analyze {TRACE} -o out --stages s.toml",
        ("'decod' is not a stage", "did you mean decode?"),
        files={"s.toml": b'[stages]\ndecod = "x"\n'},
    ),
    "an output that is a file": Wrong(
        f"analyze {TRACE} -o out --no-report", ("out: is a file", "-o"), files={"out": b""}
    ),
    "a bound on what is not compared": Wrong(
        f"compare {SAMPLE_TRACES} {SAMPLE_TRACES} --fail-on decod>5%",
        ("no row 'decod' to fail on", "did you mean decode?"),
    ),
    "a misspelt sample": Wrong(
        f"view {SAMPLE_TRACES} shrt", ("has no sample shrt", "did you mean short?")
    ),
    "a misspelt name in --map": Wrong(
        "audit old.json --map T_totl=x",
        ("cannot map T_totl", "did you mean T_total?"),
        files={"old.json": b"[]"},
    ),
    "nothing there": Wrong("analyze nowhere -o out", ("nowhere: no such file",), 3),
    "a JSON list for samples": capturing(b'[{"id": "a"}]', "line 1 is not a sample", "a line"),
    "no tokens at all": capturing(b'{"id": "a", "max_new_tokens": 0}', "line 1 is not a sample"),
    "a device that is none": capturing(
        SAMPLE, "--device gpu is no device", "cuda", more="--device gpu"
    ),
    "an attention that is none": capturing(
        SAMPLE, "--attn nonsense cannot be used", more="--attn nonsense"
    ),
    "a folder that is not there": Wrong(
        "capture --model ./models/none --inputs s.jsonl -o out",
        ("there is no folder ./models/none", "hub id"),
        files={"s.jsonl": SAMPLE},
        capture=True,
    ),
    "a text for an image": Wrong(
        "capture --model tiny-llava --inputs s.jsonl -o out --control 1",
        ("image x.png cannot be read. its content is of no image format",),
        1,
        files={"s.jsonl": b'{"id": "a", "image": "x.png"}', "x.png": b"text"},
        capture=True,
    ),
    "a capture on a capture": Wrong(
        f"capture --model tiny-llava --inputs s.jsonl -o {SAMPLE_TRACES}",
        ("holds a capture already", "--resume"),
        files={"s.jsonl": SAMPLE},
        capture=True,
    ),
}


def marked(name: str) -> object:
    marks = [pytest.mark.capture, pytest.mark.slow] if WRONG[name].capture else []
    return pytest.param(name, marks=marks)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # A hub that nobody may ask: what waits for one would fail with another message.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "KINETO_LOG_LEVEL": "9"}
    return subprocess.run(
        [sys.executable, "-m", "trace_timing", *command.split()],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", [marked(name) for name in WRONG])
def test_it_is_told_in_a_line_with_its_remedy(name: str, tmp_path: Path) -> None:
    wrong = WRONG[name]
    if wrong.capture:
        pytest.importorskip("torch")
    for file, data in (wrong.files or {}).items():
        (tmp_path / file).write_bytes(data)
    done = run(wrong.command, tmp_path)
    told = done.stderr
    assert done.returncode == wrong.code, told
    for words in wrong.says:
        assert words in told
    assert "Traceback" not in told
    assert "internal error" not in told
    if told.startswith("error:"):
        _, *rest = told.splitlines()
        assert len(rest) <= 2
        assert all(line.startswith(("  why: ", "  do:  ")) for line in rest)
        assert any(line.startswith("  do:  ") for line in rest)
    else:
        assert "failed: " in told
