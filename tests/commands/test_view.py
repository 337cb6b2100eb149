"""`trace-timing view` serves one trace once, on loopback, and stops by itself."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from trace_timing.commands.view import PERFETTO, command, one_shot, url_of
from trace_timing.errors import UsageError


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "a trace.json"
    path.write_text('{"traceEvents": []}')
    (tmp_path / "secret.txt").write_text("not for the viewer")
    return path


def test_the_trace_is_served_once_to_the_viewers_origin(trace: Path) -> None:
    served: list[bool] = []
    with one_shot(trace, 0) as server:
        waiting = threading.Thread(target=lambda: served.append(server.serve_once(20)))
        waiting.start()
        with urllib.request.urlopen(url_of(server, trace), timeout=10) as answer:
            assert answer.read() == trace.read_bytes()
            assert answer.headers["Access-Control-Allow-Origin"] == PERFETTO
        waiting.join(timeout=20)
    assert served == [True]


def test_it_answers_a_browser_that_returns_only_when_it_is_closed(trace: Path) -> None:
    read: list[bytes] = []
    with one_shot(trace, 0) as server:

        def browse() -> None:
            with urllib.request.urlopen(url_of(server, trace), timeout=10) as answer:
                read.append(answer.read())

        assert server.serve_once(20, browse)
    assert read == [trace.read_bytes()]


def test_no_other_file_is_given_out(trace: Path) -> None:
    with one_shot(trace, 0) as server:
        waiting = threading.Thread(target=server.serve_once, args=(20,))
        waiting.start()
        other = url_of(server, trace).rsplit("/", 1)[0] + "/secret.txt"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(other, timeout=10)
        server.done.set()
        waiting.join(timeout=20)
    assert refused.value.code == 404


def test_it_stops_when_nobody_asks(trace: Path) -> None:
    with one_shot(trace, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.serve_once(0.1) is False


def test_a_port_in_use_is_an_error_with_a_remedy(trace: Path) -> None:
    with one_shot(trace, 0) as server, pytest.raises(UsageError) as error:
        one_shot(trace, server.server_address[1])
    assert "--port" in error.value.remedy


def test_by_hand_starts_nothing(trace: Path) -> None:
    result = CliRunner().invoke(command, [str(trace), "--no-open"], standalone_mode=False)
    assert result.return_value == 0
    assert str(trace) in result.output


SAMPLES = Path(__file__).resolve().parents[2] / "sample_traces"


def test_a_sample_of_a_capture_is_found_by_its_id() -> None:
    named = [str(SAMPLES), "medium", "--no-open"]
    result = CliRunner().invoke(command, named, standalone_mode=False)
    assert result.return_value == 0
    assert "medium-c082456a.r0.k0.json.gz" in result.output


@pytest.mark.parametrize("named", [[str(SAMPLES), "nobody"], [str(SAMPLES)]])
def test_samples_to_choose_from_are_named(named: list[str]) -> None:
    error = CliRunner().invoke(command, named, standalone_mode=False).exception
    assert isinstance(error, UsageError)
    assert all(sample in error.why for sample in ("short", "medium", "long"))


def test_a_compact_store_is_refused_with_what_to_name_instead(tmp_path: Path) -> None:
    store = tmp_path / "x.parquet"
    store.write_bytes(b"PAR1")
    error = CliRunner().invoke(command, [str(store)], standalone_mode=False).exception
    assert isinstance(error, UsageError)
    assert ".json.gz" in error.remedy


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path / "no.json")], standalone_mode=False)
    assert isinstance(result.exception, UsageError)
