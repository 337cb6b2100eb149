"""A detach counts only where launches cost again what they did before the first session."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.recording.benches import FakeCupti, attachment_of
from trace_timing.recording.profiling import detach
from trace_timing.recording.profiling.detach import (
    AFTER_BLOCKS,
    ATTEMPTS,
    BEFORE_BLOCKS,
    CuptiAttachment,
    finalizer,
    loaded_cupti,
)

pytestmark = pytest.mark.capture


CALL_IT = """
import ctypes, sys
from trace_timing.recording.profiling.detach import finalizer, loaded_cupti
held = ctypes.CDLL(sys.argv[1])
path = loaded_cupti()
call = finalizer(path)
print(path, call(), call(), held.cuptiFinalize())
"""


def session(attachment: CuptiAttachment, cupti: FakeCupti) -> None:
    attachment.before_session()
    cupti.is_on = True
    attachment.after_session()


def test_a_detach_that_works_is_shown_by_launch_costs() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    assert attachment.state == "never"
    session(attachment, cupti)
    assert attachment.state == "attached"
    attachment.detach()
    assert attachment.state == "detached"
    told = attachment.summary()
    assert (told["possible"], told["why_not"], told["works"]) == (True, None, True)
    assert (told["detaches"], told["failed"], told["return_codes"]) == (1, 0, [0])
    assert 0.97 < told["ratio"]["low"] <= told["ratio"]["median"] <= told["ratio"]["high"] <= 1.03
    assert told["attached_ratio"]["median"] == pytest.approx(1.4, abs=0.02)
    assert told["before_ns"] == pytest.approx(cupti.base, rel=0.03)
    assert told["attached_ns"] == pytest.approx(1.4 * cupti.base, rel=0.03)


def test_a_detach_that_does_nothing_leaves_controls_attached() -> None:
    cupti = FakeCupti(works=False)
    attachment = attachment_of(cupti)
    for _ in range(3):
        session(attachment, cupti)
        attachment.detach()
        assert attachment.state == "attached"
    told = attachment.summary()
    assert told["works"] is False
    assert told["ratio"]["low"] > 1.03


def test_a_process_that_was_slow_before_its_first_session_shows_nothing() -> None:
    cupti = FakeCupti(works=False)
    attachment = attachment_of(cupti)
    cupti.is_on = True  # as slow as if attached, for another reason
    session(attachment, cupti)
    attachment.detach()
    assert attachment.summary()["ratio"] is None
    assert (attachment.works, attachment.state) == (False, "attached")


@pytest.mark.parametrize("dearer", [1.04, 1.06])
def test_even_a_few_percent_that_stay_are_not_called_detached(dearer: float) -> None:
    cupti = FakeCupti(works=False, dearer=dearer)
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    attachment.detach()
    assert attachment.state == "attached"


def test_a_return_code_that_says_no_leaves_cupti_attached() -> None:
    cupti = FakeCupti(code=15)
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    attachment.detach()
    assert attachment.state == "attached"
    told = attachment.summary()
    assert (told["failed"], told["return_codes"], told["works"]) == (1, [15], None)


def test_a_code_that_says_no_after_detaches_that_worked_is_believed() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    attachment.detach()
    cupti.code = 15
    session(attachment, cupti)
    attachment.detach()
    assert attachment.state == "attached"


def test_a_machine_that_became_a_little_faster_since_does_not_hide_a_detach() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    cupti.slower = 0.9
    attachment.detach()
    assert attachment.state == "detached"


def test_launches_that_became_cheaper_do_not_hide_that_cupti_stayed() -> None:
    """Launches alone were dearer before the first session than they would be now."""
    cupti = FakeCupti(works=False)
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    cupti.base *= 0.65
    attachment.detach()
    assert attachment.state == "attached"
    assert attachment.summary()["ratio"]["high"] < 1


def test_a_machine_that_became_a_little_slower_since_does_not_hide_a_detach() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    cupti.slower = 1.1
    attachment.detach()
    assert attachment.state == "detached"


def test_a_machine_that_became_much_slower_since_shows_nothing() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    cupti.slower = 1.3
    attachment.detach()
    assert attachment.state == "attached"
    assert attachment.summary()["ratio"] is None


def test_other_work_that_slows_cpu_ops_does_not_hide_that_cupti_stayed() -> None:
    """Launch ÷ CPU op is then what it was without CUPTI."""
    cupti = FakeCupti(works=False)
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    cupti.disturbed = 12
    attachment.detach()
    assert attachment.state == "attached"


def test_moments_without_other_work_are_enough() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    cupti.disturbed = 11  # of the twelve within the time limit
    attachment.detach()
    assert attachment.state == "detached"
    assert attachment.summary()["ratio"]["low"] >= 0.97


def test_a_disturbed_moment_after_the_session_does_not_hide_that_cupti_is_attached() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    attachment.before_session()
    cupti.is_on, cupti.disturbed = True, 2
    attachment.after_session()
    attachment.detach()
    assert attachment.state == "detached"
    assert attachment.summary()["attached_ratio"]["low"] > 1.03


def test_other_work_that_slowed_cpu_ops_before_the_first_session_lets_nothing_be_shown() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    cupti.disturbed = 12
    attachment.before_session()
    cupti.disturbed, cupti.is_on = 0, True
    attachment.after_session()
    attachment.detach()
    assert attachment.state == "attached"
    assert attachment.summary()["ratio"] is None


def test_launches_are_measured_after_further_sessions_until_cupti_is_seen() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    attachment.before_session()
    cupti.is_on, cupti.disturbed = True, 12  # nothing can be compared after this session
    attachment.after_session()
    attachment.detach()
    assert attachment.state == "attached"
    session(attachment, cupti)
    attachment.detach()
    assert attachment.state == "detached"


def test_a_detach_not_shown_at_once_is_measured_again_and_no_more_than_a_few_times() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    quiet = cupti.base
    session(attachment, cupti)
    cupti.base = 1.2 * quiet  # by what slows launches alone
    attachment.detach()
    assert attachment.state == "attached"
    cupti.base = quiet
    session(attachment, cupti)
    attachment.detach()
    assert attachment.state == "detached"

    never = FakeCupti(works=False)
    attachment = attachment_of(never)
    for _ in range(2 * ATTEMPTS):
        session(attachment, never)
        attachment.detach()
    assert len(never.measured) == 2 + ATTEMPTS  # before, attached, each detach that was measured


def test_sessions_after_which_launches_are_no_dearer_are_measured_a_few_times() -> None:
    cupti = FakeCupti(dearer=1.0)
    attachment = attachment_of(cupti)
    for _ in range(2 * ATTEMPTS):
        session(attachment, cupti)
        attachment.detach()
    assert len(cupti.measured) == 2 + ATTEMPTS  # before, after the first session and each detach
    assert attachment.state == "attached"


def test_sessions_that_no_detach_follows_are_measured_once() -> None:
    cupti = FakeCupti(dearer=1.0)
    attachment = attachment_of(cupti)
    for _ in range(3):
        session(attachment, cupti)
    assert len(cupti.measured) == 2


def test_costs_before_the_first_session_and_after_a_detach_are_of_many_blocks() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    session(attachment, cupti)
    attachment.detach()
    before, _, after = cupti.measured
    assert before >= BEFORE_BLOCKS
    assert BEFORE_BLOCKS > after >= AFTER_BLOCKS


def test_nothing_is_detached_where_no_session_was() -> None:
    cupti = FakeCupti()
    attachment_of(cupti).detach()
    assert cupti.finalized == 0


def test_what_forbids_a_detach_first_is_what_is_told() -> None:
    cupti = FakeCupti()
    attachment = attachment_of(cupti)
    attachment.forbid("first")
    attachment.forbid("second")
    session(attachment, cupti)
    attachment.detach()
    assert cupti.finalized == 0
    told = attachment.summary()
    assert (told["possible"], told["why_not"], attachment.state) == (False, "first", "attached")


def test_a_process_without_a_gpu_never_uses_cupti() -> None:
    attachment = CuptiAttachment(None, why_not=detach.NO_GPU)
    attachment.before_session()
    attachment.after_session()
    attachment.detach()
    assert attachment.state == "never"
    assert attachment.summary()["why_not"] == detach.NO_GPU


def test_captures_of_one_process_share_its_cupti() -> None:
    assert detach.attachment_of_process() is detach.attachment_of_process("cpu")


def test_rocm_has_a_probe_and_no_detach(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    cupti = FakeCupti()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(detach, "probe_of", lambda device: cupti)
    attachment = detach._attachment(None)
    session(attachment, cupti)
    attachment.detach()
    assert (attachment.state, attachment.summary()["why_not"]) == ("attached", detach.ROCM)


def test_the_library_is_found_among_what_is_loaded(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r--p 00000000 08:01 12   /opt/lib/libcudart.so.13\n"
        "7f01-7f02 rw-p 00000000 00:00 0\n"
        "7f02-7f03 r-xp 00000000 08:01 13   /opt/a folder/libcupti.so.13\n"
    )
    assert loaded_cupti(maps) == Path("/opt/a folder/libcupti.so.13")
    maps.write_text("7f00-7f01 r--p 00000000 08:01 12   /opt/lib/libcudart.so.13\n")
    assert loaded_cupti(maps) is None
    assert loaded_cupti(tmp_path / "none") is None


def test_only_a_library_that_is_loaded_is_called(tmp_path: Path) -> None:
    mapped = Path("/proc/self/maps").read_text().splitlines()
    loaded = next(Path(line.split()[-1]) for line in mapped if "/libm" in line)
    copied = tmp_path / "libcupti.so.13"
    copied.write_bytes(loaded.read_bytes())
    assert finalizer(copied) is None
    # By its path: torch's CUDA build has loaded a library of this name.
    assert str(copied) not in Path("/proc/self/maps").read_text()
    assert finalizer(loaded) is None  # loaded, but no CUPTI


def test_the_function_of_the_loaded_library_is_called(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    library = tmp_path / "libcupti.so.13"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library],
        input="static int calls; int cuptiFinalize(void) { return ++calls; }",
        text=True,
        check=True,
    )
    # In a process of its own: a second libcupti must not stay in this one.
    done = subprocess.run(
        [sys.executable, "-c", CALL_IT, library], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(library), "1", "2", "3"]
