"""What of a document outside its events is taken over."""

from __future__ import annotations

import msgspec
import pytest

from trace_timing.trace.kineto.header import header_of


def raws(text: str) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(text.encode(), type=dict[str, msgspec.Raw])


def test_the_profilers_fields_and_versions_are_read_and_no_others() -> None:
    fields = raws('{"baseTimeNanoseconds": 7, "cuda_version": "12", "schemaVersion": 1, "pad": 2}')
    assert header_of(fields) == {"baseTimeNanoseconds": 7, "cuda_version": "12"}


def test_a_field_longer_than_a_megabyte_is_none_that_a_profiler_wrote() -> None:
    for length, there in ((2**20 - 2, True), (2**20 - 1, False)):  # two more for its quotes
        fields = raws(f'{{"cuda_version": "{"x" * length}", "trace_version": 1}}')
        assert ("cuda_version" in header_of(fields)) == there
        assert header_of(fields)["trace_version"] == 1


@pytest.mark.parametrize("name", ["deviceProperties", "distributedInfo"])
def test_a_field_that_cannot_be_read_is_left_out_alone(name: str) -> None:
    fields = raws('{"trace_version": 1}') | {name: msgspec.Raw(b"[1, }")}
    assert header_of(fields) == {"trace_version": 1}
