"""What the checkpoint key holds."""

from __future__ import annotations

import dataclasses
import json

import pytest

from sinks._redis.checkpoint import Checkpoint

CHECKPOINT = Checkpoint(
    sink="mirror",
    source="master",
    place='{"after": 1}',
    owned=False,
    writer="0f",
    group=1,
    time_ms=5,
)


def test_it_is_read_as_it_was_written() -> None:
    failed = dataclasses.replace(CHECKPOINT, failure="no such key", place="ü\n")
    unnamed = dataclasses.replace(CHECKPOINT, source="")
    for checkpoint in (CHECKPOINT, failed, unnamed):
        assert Checkpoint.parse(checkpoint.dump()) == checkpoint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[1]",
        b"{}",
        CHECKPOINT.dump().replace(b'"repltap":1', b'"repltap":2'),
        CHECKPOINT.dump().replace(b'"group"', b'"gruppe"'),
        json.dumps({**json.loads(CHECKPOINT.dump()), "place": 7}).encode(),
        json.dumps({**json.loads(CHECKPOINT.dump()), "place": ""}).encode(),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Checkpoint.parse(data)
