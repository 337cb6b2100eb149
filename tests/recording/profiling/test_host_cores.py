"""The thread visits each core in turn and afterwards runs where it could before."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

import torch

from trace_timing.recording.profiling.host_cores import cores_near, from_core_to_core

pytestmark = [
    pytest.mark.capture,
    pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no control of cores here"),
]


def test_each_core_is_visited_in_turn() -> None:
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    seen = []
    with from_core_to_core(cores) as move:
        for _ in range(len(cores) + 1):
            move()
            seen.append(os.sched_getaffinity(0))
    assert seen == [{core} for core in [*cores, cores[0]]]
    assert os.sched_getaffinity(0) == before


def test_the_thread_may_run_anywhere_again_after_an_error() -> None:
    before = os.sched_getaffinity(0)

    def fail_on_a_core() -> None:
        with from_core_to_core([min(before)]) as move:
            move()
            raise LookupError

    with pytest.raises(LookupError):
        fail_on_a_core()
    assert os.sched_getaffinity(0) == before


def test_a_core_that_may_not_be_used_is_passed_over() -> None:
    before = os.sched_getaffinity(0)
    with from_core_to_core([100_000]) as move:
        move()
        assert os.sched_getaffinity(0) == before


def test_without_cores_nothing_is_moved() -> None:
    before = os.sched_getaffinity(0)
    with from_core_to_core([]) as move:
        move()
        assert os.sched_getaffinity(0) == before


def gpu_at(monkeypatch: pytest.MonkeyPatch, folder: Path, cores: str | None) -> None:
    gpu = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x1B, pci_device_id=6)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    if cores is not None:
        (folder / "0000:1b:06.0").mkdir()
        (folder / "0000:1b:06.0" / "local_cpulist").write_text(cores)


@pytest.mark.parametrize(
    ("listed", "near"),
    [
        ("0-3,6\n", [0, 1, 2, 3, 6]),
        ("6-31", [6, 7]),  # not all of them may be used
        ("16-31", list(range(8))),  # none of them
        ("", list(range(8))),
        (None, list(range(8))),  # the system does not tell
    ],
)
def test_cores_are_those_near_the_gpu(
    listed: str | None, near: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_at(monkeypatch, tmp_path, listed)
    assert cores_near(0, tmp_path) == near


def test_a_torch_that_does_not_tell_where_the_gpu_is_leaves_all_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_at(monkeypatch, tmp_path, "0-3")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace())
    assert cores_near(0, tmp_path) == list(range(8))


def test_a_system_without_control_of_cores_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores_near(0) == []
