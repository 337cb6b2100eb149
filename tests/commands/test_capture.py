"""The capture command, as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
from PIL import Image

import trace_timing
from tests.recording.saved_model import PATCHES, PROMPT_WORDS, save_llava
from trace_timing.commands import cli
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED, UsageError
from trace_timing.recording.files import read_records

pytestmark = [pytest.mark.capture, pytest.mark.slow]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 30), "green").save(tmp_path / "a.png")
    rows = [
        {"id": f"s{i}", "image": "a.png", "prompt": "what", "max_new_tokens": 2 + i}
        for i in range(3)
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def arguments(samples: Path, output: Path, *more: str) -> list[str]:
    fixed = ["capture", "--model", "tiny-llava", "--device", "cpu", "--inputs", str(samples)]
    return [*fixed, "-o", str(output), *more]


def run(samples: Path, output: Path, *more: str) -> int:
    code: int = cli.main(arguments(samples, output, *more), standalone_mode=False)
    return code


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **more}


def test_it_records_every_sample_and_says_so(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "traces"
    assert run(samples, out) == EXIT_GOOD
    captured = capsys.readouterr()
    assert "3 runs recorded" in captured.err
    assert captured.out == ""
    records = read_records(out / "runs.rank0.jsonl")
    assert [r.tokens_out for r in records if r.role == "profiled"] == [2, 3, 4]


def test_a_missing_image_is_told_and_retried_on_resume(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "traces"
    with samples.open("a") as file:
        file.write('\n{"id": "late", "image": "late.png"}')
    assert run(samples, out, "--no-warm-up", "--max-new-tokens", "2") == EXIT_REJECTED
    assert "failed: late: image late.png cannot be read" in capsys.readouterr().err
    Image.new("RGB", (5, 5)).save(tmp_path / "late.png")
    assert run(samples, out, "--no-warm-up", "--max-new-tokens", "2", "--resume") == EXIT_GOOD
    assert "1 runs recorded" in (text := capsys.readouterr().err)
    assert "3 were there" in text
    ids = [r.sample_id for r in read_records(out / "runs.rank0.jsonl") if r.role == "profiled"]
    assert sorted(ids) == ["late", "s0", "s1", "s2"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--keep", "some"], "--keep some"),
        (["--dtype", "float7"], "unknown dtype"),
        (["--model", "random:none"], "unknown preset"),
    ],
)
def test_what_means_nothing_is_named(
    samples: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(samples, tmp_path / "traces", *more)


def test_repeats_and_limit(samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "traces"
    assert run(samples, out, "--limit", "1", "--repeats", "3", "--no-warm-up") == EXIT_GOOD
    records = read_records(out / "runs.rank0.jsonl")
    assert [(r.sample_id, r.repeat) for r in records if r.role == "profiled"] == [
        ("s0", 0),
        ("s0", 1),
        ("s0", 2),
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "my-llava"
    save_llava(folder)
    return folder


@pytest.mark.parametrize("more", [(), ("--device-map", "auto")], ids=["device", "device map"])
def test_a_model_in_a_folder_is_loaded_with_its_processor_and_template(
    samples: Path, tmp_path: Path, saved: Path, more: tuple[str, ...]
) -> None:
    samples.write_text(
        json.dumps({"id": "a", "image": "a.png", "prompt": "what is this", "max_new_tokens": 3})
    )
    out = tmp_path / "traces"
    assert run(samples, out, "--no-warm-up", "--model", str(saved), *more) == EXIT_GOOD
    records = read_records(out / "runs.rank0.jsonl")
    assert {(r.tokens_in, r.tokens_out) for r in records} == {(PATCHES + PROMPT_WORDS, 3)}
    settings = json.loads((out / "manifest.json").read_text())["settings"]
    assert settings["model"] == "my-llava"


def test_a_tensor_parallel_run_leaves_a_trace_a_rank_tied_by_its_sample(
    samples: Path, tmp_path: Path, saved: Path
) -> None:
    samples.write_text(
        json.dumps({"id": "a", "image": "a.png", "prompt": "what is this", "max_new_tokens": 3})
    )
    out = tmp_path / "traces"
    wanted = arguments(samples, out, "--no-warm-up", "--model", str(saved), "--tensor-parallel")
    # --standalone: a free port, so that two of these on one machine do not meet.
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run(
        [*torchrun, "--nproc-per-node", "2", "-m", "trace_timing", *wanted],
        env=environment(),
        capture_output=True,
        check=True,
        timeout=300,
    )
    by_rank = [read_records(out / f"runs.rank{rank}.jsonl") for rank in range(2)]
    runs = [next(r for r in records if r.role == "profiled") for records in by_rank]
    assert [(r.sample_id, r.rank) for r in runs] == [("a", 0), ("a", 1)]
    assert runs[0].tokens_sha256 == runs[1].tokens_sha256
    samples_table = trace_timing.analyze(out).samples
    assert samples_table[["sample_id", "rank", "decode_steps"]].values.tolist() == [
        ["a", 0, 2],
        ["a", 1, 2],
    ]


def test_two_ranks_share_one_directory(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "traces"
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):  # in either order: rank 1 may well be the first to write
        monkeypatch.setenv("RANK", rank)
        assert run(samples, out, "--no-warm-up") == EXIT_GOOD
    by_rank = [
        {r.sample_id for r in read_records(out / f"runs.rank{rank}.jsonl")} for rank in range(2)
    ]
    assert by_rank == [{"s0", "s2"}, {"s1"}]
    assert len(list((out / "traces").glob("*.json.gz"))) == 3
    assert (out / "manifest.json").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_finishes_the_sample_and_tells_how_to_go_on(
    samples: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    out = tmp_path / "traces"
    runs = out / "runs.rank0.jsonl"
    more = ["--no-warm-up", "--repeats", "200"]
    command = [sys.executable, "-m", "trace_timing", *arguments(samples, out, *more)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (runs.exists() and runs.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(sent)
    _, text = process.communicate(timeout=60)
    assert process.returncode == EXIT_REJECTED
    assert "finishing this sample" in text
    assert "the same command with --resume goes on" in text
    assert "Traceback" not in text
    records = read_records(runs)
    assert 1 <= len(records) < 1200
    assert len(records) % 2 == 0
    assert {r.status for r in records} == {"ok"}
