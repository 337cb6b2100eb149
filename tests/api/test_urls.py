"""Inputs and outputs on an S3-compatible server, a real one on loopback."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from tests.trace.kineto_files import CALL, KERNEL, RANGE, write
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.output.upload import delivered
from trace_timing.errors import UsageError
from trace_timing.report.export import write_csv


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a moto server, reached as any user would: by environment variables."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    name = f"traces-{uuid.uuid4().hex}"  # moto's buckets outlive its servers
    fs.mkdir(name)
    yield f"s3://{name}"
    server.stop()
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(9):
        kernel = {**KERNEL, "dur": 1 + number}
        write(folder / f"run{number}.json.gz", {"traceEvents": [RANGE, CALL, kernel]})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_traces_on_s3_give_the_tables_of_the_same_local_files(
    bucket: str, local: Path, jobs: int
) -> None:
    fsspec.filesystem("s3").put(f"{local}/", f"{bucket}/in/", recursive=True)
    there, here = analyze(f"{bucket}/in", jobs=jobs), analyze(local)
    assert len(there.run_summaries) == 9
    for name, table in here.tables.items():
        assert table.equals(there.tables[name]), name


def test_outputs_go_to_s3(bucket: str, local: Path) -> None:
    found = analyze(local)
    with delivered(f"{bucket}/out") as to:
        found.tables.copy_to(to.folder)
        write_csv(found.tables["samples"], to.folder)
    with fsspec.open(f"{bucket}/out/stages.parquet") as file:
        assert pq.read_table(file).equals(found.tables["stages"])
    assert fsspec.filesystem("s3").exists(f"{bucket}/out/samples.csv")


def test_nothing_is_delivered_when_the_work_fails(bucket: str) -> None:
    def fails_half_way() -> None:
        with delivered(f"{bucket}/out") as to:
            (to.folder / "half.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails_half_way()
    assert not fsspec.filesystem("s3").exists(f"{bucket}/out")


def test_an_output_that_cannot_be_written_is_an_error_with_a_remedy() -> None:
    with pytest.raises(UsageError, match="cannot be written") as caught, delivered("nosuch://x"):
        pass
    assert caught.value.remedy
