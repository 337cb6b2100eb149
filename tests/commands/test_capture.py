"""The capture command, as a person runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import REPOSITORY

pytest.importorskip("torch")
from click.testing import CliRunner
from PIL import Image

import trace_timing
from tests.recording.saved_model import PATCHES, PROMPT_WORDS, save_llava
from trace_timing.commands import cli
from trace_timing.commands.capture import command
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED, UsageError
from trace_timing.recording.runs.plan import RunPlan, count_calls
from trace_timing.recording.storage.directory import read_records

pytestmark = [pytest.mark.capture, pytest.mark.slow]


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
    assert "10 controls and 3 recorded runs made in" in captured.err
    assert captured.out == ""
    records = read_records(out / "runs.rank0.jsonl")
    assert [r.tokens_out for r in records if r.role == "recorded"] == [2, 3, 4]
    # All controls first: five of every tenth sample and a bare one, two of the others.
    assert [r.role for r in records] == ["control"] * 10 + ["recorded"] * 3
    assert {r.control.cupti for r in records if r.control} == {"never"}


def test_it_says_what_it_costs_before_it_starts(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(samples, tmp_path / "traces", "--control", "2", "--record-every", "2") == EXIT_GOOD
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == (
        "3 samples: 9 generate() calls (7 controls, 2 recorded), 3.0 a sample, and the warm-up "
        "of each new input shape"
    )
    assert re.fullmatch(r"about \d+ ms a call by the first input's warm-up: .* in all, .*", second)


def test_a_precision_says_how_many_calls_it_may_come_to(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--precision", "3%", "--most-controls", "6", "--no-warm-up", "--control", "2"]
    assert run(samples, tmp_path / "traces", *more) == EXIT_GOOD
    assert "3 samples: 10 to 22 generate() calls" in capsys.readouterr().err
    records = read_records(tmp_path / "traces" / "runs.rank0.jsonl")
    assert sum(r.sample_id == "s0" and r.control is not None for r in records) == 6 + 1
    settings = json.loads((tmp_path / "traces" / "manifest.json").read_text())["settings"]
    names = ("order", "control", "record_every", "precision", "most_controls")
    assert [settings[name] for name in names] == ["controls-first", 2, 1, 0.03, 6]


def test_help_says_what_two_thousand_samples_cost() -> None:
    text = CliRunner().invoke(command, ["--help"], terminal_width=100).output
    assert "2,000 captions at 8 s a call take 15 hours" in text
    calls = count_calls(RunPlan(), range(2000), 2000, samples=2000, precise=False).calls
    assert round(calls * 8 / 3600) == 15
    few = count_calls(RunPlan(), range(2000), 200, samples=2000, precise=False).calls
    assert (round(few * 8 / 3600), calls / 2000) == (11, 3.4)
    fewer = count_calls(RunPlan(control=1), range(2000), 200, samples=2000, precise=False).calls
    assert round(fewer * 8 / 3600) == 5
    for option in ("--order", "--control", "--record-every", "--precision", "--most-controls"):
        assert option in text


def test_how_many_steps_are_recorded_stands_in_the_manifest(samples: Path, tmp_path: Path) -> None:
    for given, kept in (("all", "all"), ("5", 5)):
        out = tmp_path / given
        more = ("--limit", "1", "--control", "1", "--no-warm-up", "--record-steps", given)
        assert run(samples, out, *more) == EXIT_GOOD
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["settings"]["record_steps"] == kept


@pytest.mark.parametrize("given", ["0", "some"])
def test_steps_that_mean_nothing_are_refused(samples: Path, tmp_path: Path, given: str) -> None:
    arguments_ = arguments(samples, tmp_path / "out", "--record-steps", given)
    result = CliRunner().invoke(cli, arguments_)
    assert result.exit_code == 2
    assert "record-steps" in result.output


def test_an_interleaved_capture_goes_sample_by_sample(samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "traces"
    assert run(samples, out, "--order", "interleaved", "--control", "1", "--no-warm-up") == 0
    records = read_records(out / "runs.rank0.jsonl")
    assert [(r.sample_id, r.role) for r in records][:5] == [
        ("s0", "control"),
        ("s0", "control"),
        ("s0", "recorded"),
        ("s1", "control"),
        ("s1", "recorded"),
    ]


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
    assert "2 controls and 1 recorded runs made" in (text := capsys.readouterr().err)
    assert "3 samples were there" in text
    ids = [r.sample_id for r in read_records(out / "runs.rank0.jsonl") if r.role == "recorded"]
    assert sorted(ids) == ["late", "s0", "s1", "s2"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--keep", "some"], "--keep some"),
        (["--dtype", "float7"], "unknown dtype"),
        (["--precision", "much"], "precision much means nothing"),
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
    assert [(r.sample_id, r.repeat) for r in records if r.role == "recorded"] == [
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
    # With a warm-up and a precision, whose numbers of runs the ranks must agree on.
    more = ["--precision", "20%", "--most-controls", "6", "--control", "2", "--tensor-parallel"]
    wanted = arguments(samples, out, "--model", str(saved), *more)
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
    runs = [next(r for r in records if r.role == "recorded") for records in by_rank]
    assert [(r.sample_id, r.rank) for r in runs] == [("a", 0), ("a", 1)]
    assert runs[0].tokens_sha256 == runs[1].tokens_sha256
    assert [len(records) for records in by_rank] == [8, 8]  # six controls, a bare one, a recorded
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
    more = ["--no-warm-up", "--repeats", "200", "--order", "interleaved", "--control", "1"]
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
    assert 1 <= len(records) < 600
    assert {r.status for r in records} == {"ok"}
    assert records[-1].role == "recorded"  # of the sample that was under way, too
