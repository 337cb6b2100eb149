"""`trace-timing analyze` as a user runs it: outputs, messages, exit codes."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.api.made_captures import controls_only
from tests.paths import SAMPLE_TRACES
from trace_timing import schema
from trace_timing.api.analysis.table_files import StoredTables


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "trace_timing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_sample_traces_give_every_output(tmp_path: Path) -> None:
    done = run("analyze", SAMPLE_TRACES, "-o", tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    beside = {file.name for file in tmp_path.iterdir()}
    tables = {f"{name}.parquet" for name in schema.MAIN_TABLES}
    assert beside == {"report.html", "samples.csv", "summary.json", "why", *tables}
    for file in tmp_path.rglob("*.parquet"):
        written = pq.read_table(file)
        assert set(schema.TABLES[file.stem].names) <= set(written.column_names)
        assert len(written)
        assert file == tmp_path / schema.file_of(file.stem)
    assert (tmp_path / "samples.csv").read_text().count("\n") == 4
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["checks_hold"]
    assert summary["clocks"] == ["device"]
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_a_capture_of_which_nothing_was_recorded_gives_every_output(tmp_path: Path) -> None:
    done = run("analyze", controls_only(tmp_path / "capture"), "-o", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    told = " ".join(done.stdout.split())
    assert f"report: {tmp_path / 'out' / 'report.html'}" in told
    assert f"samples: {tmp_path / 'out' / 'samples.csv'}" in told
    assert "3 samples, 0 recorded runs" in told
    assert "All checks" not in told
    assert (tmp_path / "out" / "samples.csv").read_text().count("\n") == 4
    assert pq.read_table(tmp_path / "out" / "runs.parquet").num_rows == 18
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000


def test_ranges_of_other_names_are_answered_with_the_names_seen(tmp_path: Path) -> None:
    text = gzip.decompress(next((SAMPLE_TRACES / "traces").glob("short*")).read_bytes())
    for ours, theirs in ((b"generate", b"run"), (b"prefill", b"fill"), (b"decode[", b"token[")):
        text = text.replace(b'"name": "' + ours, b'"name": "' + theirs)
    for ours in (b"sampling[", b"vision", b"projector"):
        text = text.replace(b'"name": "' + ours, b'"name": "x' + ours)
    (tmp_path / "theirs.json").write_bytes(text)
    done = run("analyze", tmp_path / "theirs.json", "-o", tmp_path / "out", "--no-report")
    told = " ".join(done.stdout.split())
    assert done.returncode == 1
    assert "range names seen:" in told
    assert "fill" in told
    assert "--stages" in told


def of_vllm(path: Path) -> Path:
    """A trace as vLLM leaves it: two forwards of two batch sizes."""
    names = ("execute_context_1(9)_generation_0(0)", "execute_context_0(0)_generation_4(4)")
    events = []
    for n, name in enumerate(names):
        where = {"ph": "X", "pid": 1, "tid": 1}
        launch = {"correlation": n + 1}
        events += [
            {**where, "cat": "user_annotation", "name": name, "ts": 100 * n, "dur": 90},
            {
                **where,
                "cat": "cuda_runtime",
                "name": "cudaLaunchKernel",
                "ts": 100 * n + 5,
                "dur": 2,
                "args": launch,
            },
            {
                "ph": "X",
                "pid": 0,
                "tid": 7,
                "cat": "kernel",
                "name": "k",
                "ts": 100 * n + 10,
                "dur": 60,
                "args": {**launch, "device": 0, "stream": 7},
            },
        ]
    path.write_text(json.dumps({"traceEvents": events}))
    return path


def test_a_server_s_trace_is_read_with_the_map_that_knows_its_names(tmp_path: Path) -> None:
    trace, out = of_vllm(tmp_path / "served.json"), tmp_path / "out"
    more = ("--no-report", "--no-cache")
    done = run("analyze", trace, "-o", out, "--stages", "auto", *more)
    told = " ".join(done.stdout.split())
    assert done.returncode == 0
    # The number of a server's step is no position of a sequence.
    steps = pq.read_table(out / "steps.parquet")
    assert steps["kv_length"].null_count == len(steps) == 2
    assert steps["usable"].to_pylist() == [False, False]
    assert "Range names read with the stage map vllm (1 of 1 traces)." in told
    assert "Decode, batch 4: 0.090 ms / 0.090 ms / 0.090 ms (1 step)" in told
    lines = (out / "step_summary.csv").read_text().splitlines()
    assert lines[0] == "stage,batch_size,time,n,p50_ms,p90_ms,p99_ms"
    assert [line.split(",")[:4] for line in lines[1:] if "window" in line] == [
        ["prefill", "1", "window", "1"],
        ["decode", "4", "window", "1"],
    ]
    (of_trace,) = json.loads((out / "summary.json").read_text())["traces"]
    assert (of_trace["stage_map"], of_trace["serving"]) == ("vllm", True)


def test_names_of_a_known_server_are_answered_with_its_map(tmp_path: Path) -> None:
    trace = of_vllm(tmp_path / "served.json")
    done = run("analyze", trace, "-o", tmp_path / "out", "--no-report", "--no-cache")
    told = " ".join(done.stdout.split())
    assert done.returncode == 1
    assert "names of the built-in map vllm: run it again with --stages auto" in told
    assert not (tmp_path / "out" / "step_summary.csv").exists()


def test_auto_changes_nothing_of_a_capture(tmp_path: Path) -> None:
    trace = next((SAMPLE_TRACES / "traces").glob("short*"))
    for name, more in (("plain", ()), ("auto", ("--stages", "auto"))):
        run("analyze", trace, "-o", tmp_path / name, "--no-report", "--no-cache", *more)
    plain, by_auto = (StoredTables(tmp_path / name) for name in ("plain", "auto"))
    for table in schema.TABLES:
        assert by_auto[table].equals(plain[table]), table
    assert not (tmp_path / "auto" / "step_summary.csv").exists()


def test_an_unknown_stage_map_is_one_line_with_what_there_is(tmp_path: Path) -> None:
    trace = next((SAMPLE_TRACES / "traces").glob("short*"))
    done = run("analyze", trace, "-o", tmp_path / "out", "--stages", "vlm")
    assert done.returncode == 2
    assert "did you mean vllm?" in done.stderr
    assert "sglang, trtllm, transformers" in done.stderr


def test_annotate_says_how_many_traces_have_a_copy(tmp_path: Path) -> None:
    trace = next((SAMPLE_TRACES / "traces").glob("short*"))
    done = run("analyze", trace, "-o", tmp_path, "--no-report", "--annotate")
    assert "annotated 1 of 1 traces" in done.stderr
    (copy,) = (tmp_path / "annotated").iterdir()
    assert copy.name == trace.name.replace(".json.gz", ".annotated.json.gz")


def test_json_prints_the_summary_alone(tmp_path: Path) -> None:
    done = run("analyze", SAMPLE_TRACES, "-o", tmp_path, "--json", "--no-report")
    assert json.loads(done.stdout) == json.loads((tmp_path / "summary.json").read_text())


def test_one_bad_file_among_good_ones_costs_that_file_alone(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    for file in (SAMPLE_TRACES / "traces").glob("short*.json.gz"):
        shutil.copy(file, folder / "good.json.gz")
    (folder / "bad.json").write_text('{"traceEvents": 3}')
    done = run("analyze", folder, "-o", tmp_path / "out", "--no-report")
    assert done.returncode == 1
    rejected = [line for line in done.stderr.splitlines() if line.startswith("rejected:")]
    assert len(rejected) == 1
    assert "bad.json" in rejected[0]
    assert str(tmp_path) not in rejected[0]
    assert pq.read_table(tmp_path / "out" / "samples.parquet").num_rows == 1


def _truncated() -> bytes:
    return gzip.compress(b'{"traceEvents": []}' * 100)[:60]


BAD = {
    "empty.json": b"",
    "cut.json.gz": _truncated(),
    "words.json": b"not a trace",
    "other.json": b'{"rows": []}',
    "nan.json": b'[{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1.0,"dur":NaN}]',
    "negative.json": b'[{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1.0,"dur":-2}]',
    "nothing.json": b'{"traceEvents": []}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_in_a_line_without_a_traceback(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    done = run("analyze", tmp_path / name, "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert name in done.stderr
    assert "do:" in done.stderr


def test_a_path_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    done = run("analyze", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "no such file or directory" in done.stderr


def test_wrong_use_exits_with_two() -> None:
    assert run("analyze").returncode == 2
    assert run("analyse").returncode == 2


def test_analysis_never_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys, trace_timing; "
        f"trace_timing.analyze({str(SAMPLE_TRACES)!r}).samples; "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_that_fails_a_check_is_no_label_and_the_exit_code_says_so(tmp_path: Path) -> None:
    text = gzip.decompress(next((SAMPLE_TRACES / "traces").glob("short*")).read_bytes())
    (tmp_path / "gap.json").write_bytes(text.replace(b'"decode[2]"', b'"other"'))
    done = run("analyze", tmp_path / "gap.json", "-o", tmp_path / "out", "--no-report")
    assert done.returncode == 1
    (sample,) = pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
    assert not sample["usable"]
    assert "step_missing" in sample["reasons"].split(",")
    (trace,) = json.loads((tmp_path / "out" / "summary.json").read_text())["traces"]
    assert trace["integrity"]["level"] == "FAIL"
    assert trace["integrity"]["failed"] == ["step_missing"]
    assert "decode[2]" in done.stdout or "Steps have no range" in " ".join(done.stdout.split())


def test_a_file_that_inflates_out_of_proportion_is_read_only_where_allowed(tmp_path: Path) -> None:
    op = {"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 1.5, "dur": 1}
    with gzip.open(tmp_path / "bomb.json.gz", "wb", 1) as file:
        file.write(b'{"traceEvents": [')
        for _ in range(260):
            file.write(b" " * 2**20)
        file.write(json.dumps(op).encode() + b"]}")
    arguments = ("analyze", tmp_path / "bomb.json.gz", "-o", tmp_path / "out", "--no-report")
    refused = run(*arguments)
    assert refused.returncode == 3
    assert "allow more with --max-inflation" in refused.stderr
    allowed = run(*arguments, "--max-inflation", "1000")
    assert allowed.returncode == 1, allowed.stderr  # its one op is in no stage
    assert "rejected" not in allowed.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "no sample of older.csv is in this capture"),
        (("--no-report",), "--older is for the report"),
    ],
)
def test_older_results_that_cannot_stand_beside_ours_are_refused(
    tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    names = "sample_id,output_tokens,T_vision_total,T_LLM_prefill,T_LLM_decode,T_total"
    (tmp_path / "older.csv").write_text(f"{names}\nelse,2,1,2,3,6\n")
    out = tmp_path / "out"
    done = run("analyze", SAMPLE_TRACES, "--older", tmp_path / "older.csv", "-o", out, *more)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not out.exists()
