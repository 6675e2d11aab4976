"""What the link shows of snapshots; their progress is tested with the link."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from repltap.net.linkfacts import server_version, size_text


@pytest.mark.parametrize(
    ("aux", "version"),
    [
        ([], ""),
        ([{}], ""),
        ([{"redis-ver": "7.0.15"}, {"redis-ver": "6.2.0"}], "7.0.15"),
        ([{"redis-ver": "7.2.4", "valkey-ver": "9.1.0"}], "9.1.0"),
    ],
    ids=["none", "silent", "newest", "valkey"],
)
def test_the_version_is_that_of_the_newest_snapshot(
    aux: list[dict[str, str]], version: str
) -> None:
    stored = [SimpleNamespace(aux=each) for each in aux]
    history = SimpleNamespace(snapshots=SimpleNamespace(all=stored))
    assert server_version(history) == version  # type: ignore[arg-type]
    assert server_version(None) == ""


def test_a_size_that_is_not_known_is_no_number() -> None:
    assert size_text(None) == "size not known before its end"
    assert size_text(0) == "0 bytes"
