"""`trace-timing view` serves one trace once, on loopback, and stops by itself."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.paths import SAMPLE_TRACES
from trace_timing.commands.serving import PERFETTO, OneShotServer, one_shot
from trace_timing.commands.view import command
from trace_timing.errors import TraceError, UsageError


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
        with urllib.request.urlopen(server.url, timeout=10) as answer:
            assert answer.read() == trace.read_bytes()
            assert answer.headers["Access-Control-Allow-Origin"] == PERFETTO
        waiting.join(timeout=20)
    assert served == [True]


def test_it_answers_a_browser_that_returns_only_when_it_is_closed(trace: Path) -> None:
    read: list[bytes] = []
    with one_shot(trace, 0) as server:

        def browse() -> None:
            with urllib.request.urlopen(server.url, timeout=10) as answer:
                read.append(answer.read())

        assert server.serve_once(20, browse)
    assert read == [trace.read_bytes()]


def test_no_other_file_is_given_out(trace: Path) -> None:
    with one_shot(trace, 0) as server:
        waiting = threading.Thread(target=server.serve_once, args=(20,))
        waiting.start()
        other = server.url.rsplit("/", 1)[0] + "/secret.txt"
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


def ask(server: OneShotServer, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Status and body; headers' names with `_` for `-`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@contextmanager
def serving(trace: Path) -> Iterator[OneShotServer]:
    """A server that answers until it has given the trace out."""
    with one_shot(trace, 0) as server:
        waiting = threading.Thread(target=server.serve_once, args=(20,))
        waiting.start()
        yield server
        server.done.set()
        waiting.join(timeout=20)


def test_the_address_is_another_one_each_time_and_none_else_is_answered(trace: Path) -> None:
    with serving(trace) as server, one_shot(trace, 0) as other:
        assert server.path != other.path
        token, name = server.path.strip("/").split("/")
        assert len(token) >= 20
        for path in (f"/{name}", "/", f"/{token}", f"/x{token}/{name}", f"/{token}/../{name}"):
            assert ask(server, path)[0] == 404
            assert ask(server, path, "HEAD")[0] == 404
        assert not server.done.is_set()
        assert ask(server, server.path) == (200, trace.read_bytes())
        assert server.done.wait(5)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:9001"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://ui.perfetto.dev.evil.example"},
    ],
)
def test_other_hosts_and_origins_are_refused(trace: Path, headers: dict[str, str]) -> None:
    with serving(trace) as server:
        for method in ("GET", "HEAD", "OPTIONS"):
            status, body = ask(server, server.path, method, **headers)
            assert status == 403
            assert b"traceEvents" not in body
        assert not server.done.is_set()


def test_the_viewers_origin_is_let_in_under_both_names_of_this_machine(trace: Path) -> None:
    with serving(trace) as server:
        port = server.server_address[1]
        assert ask(server, server.path, "OPTIONS", Origin=PERFETTO)[0] == 204
        assert ask(server, server.path, Origin=PERFETTO, Host=f"localhost:{port}")[0] == 200


def test_connections_that_say_nothing_hold_nobody_up(trace: Path) -> None:
    with serving(trace) as server:
        silent = [socket.create_connection(server.server_address) for _ in range(5)]
        assert ask(server, server.path) == (200, trace.read_bytes())
        for connection in silent:
            connection.close()


def test_a_read_that_breaks_off_is_no_whole_one(tmp_path: Path) -> None:
    trace = tmp_path / "big.json"
    trace.write_bytes(b" " * 50_000_000)
    with serving(trace) as server:
        with socket.create_connection(server.server_address) as connection:
            port = server.server_address[1]
            asked = f"GET {server.path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"
            connection.sendall(asked.encode())
            connection.recv(1000)
        assert not server.done.wait(0.5)
        assert ask(server, server.path)[0] == 200


def test_a_link_is_served_and_one_to_nothing_is_told(trace: Path, tmp_path: Path) -> None:
    link = tmp_path / "linked" / "by another name.json"
    link.parent.mkdir()
    link.symlink_to(trace)
    with serving(link) as server:
        assert ask(server, server.path) == (200, trace.read_bytes())
    trace.unlink()
    error = CliRunner().invoke(command, [str(link)], standalone_mode=False).exception
    assert isinstance(error, UsageError)
    assert "is a link to a file that is not there" in error.what


def test_ctrl_c_ends_it_at_once_whatever_connections_are_open(trace: Path, tmp_path: Path) -> None:
    browser = {**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "trace_timing", "view", str(trace), "--port", "0"],
        env=browser, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    address = next(line for line in process.stdout if line.startswith("opening"))
    url = urllib.parse.unquote(address.partition("url=")[2].strip())
    port = urllib.parse.urlsplit(url).port
    with socket.create_connection(("127.0.0.1", port)):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130


def test_a_sample_whose_file_was_swapped_is_not_shown(tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    shutil.copytree(SAMPLE_TRACES, folder)
    (short,) = (folder / "traces").glob("short-*")
    (medium,) = (folder / "traces").glob("medium-*")
    shutil.copy(medium, short)
    named = [str(folder), "short", "--no-open"]
    error = CliRunner().invoke(command, named, standalone_mode=False).exception
    assert isinstance(error, TraceError)


def test_by_hand_starts_nothing(trace: Path) -> None:
    result = CliRunner().invoke(command, [str(trace), "--no-open"], standalone_mode=False)
    assert result.return_value == 0
    assert str(trace) in result.output


def test_a_sample_of_a_capture_is_found_by_its_id() -> None:
    named = [str(SAMPLE_TRACES), "medium", "--no-open"]
    result = CliRunner().invoke(command, named, standalone_mode=False)
    assert result.return_value == 0
    assert "medium-c082456a.r0.k0.json.gz" in result.output


@pytest.mark.parametrize("named", [[str(SAMPLE_TRACES), "nobody"], [str(SAMPLE_TRACES)]])
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
