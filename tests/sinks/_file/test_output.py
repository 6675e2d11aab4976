"""One file in progress."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from pathlib import Path

import pytest

from repltap.sink import SinkError, SinkErrorKind
from sinks._file.counts import Counts
from sinks._file.output import Output


def create(path: Path, compression: str = "none") -> Output:
    return Output.create(path, compression=compression, counts=Counts())


def reopen(path: Path, length: int, compression: str = "none") -> Output:
    return Output.reopen(path, length, compression=compression, counts=Counts())


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        create(tmp_path / "f").close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("f", "link"):
        with pytest.raises(SinkError, match="File exists"):
            create(tmp_path / name)
    assert (tmp_path / "f").read_bytes() == b"precious"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_it_is_cut_to_what_was_committed(tmp_path: Path, compression: str) -> None:
    output = create(tmp_path / "f", compression)
    output.write(b"kept")
    output.end_piece()
    length = output.length
    output.write(b"taken back")
    output.end_piece()
    output.close()
    output = reopen(tmp_path / "f", length, compression)
    assert output.dirty
    output.write(b" and more")
    output.end_piece()
    output.close()
    written = (tmp_path / "f").read_bytes()
    assert (gzip.decompress(written) if compression == "gzip" else written) == b"kept and more"
    assert output.length == len(written)


def test_a_file_that_somebody_cut_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1234")
    with pytest.raises(SinkError, match="holds 4 bytes, but 5 were committed") as raised:
        reopen(tmp_path / "f", 5)
    assert not raised.value.passes
    reopen(tmp_path / "f", 4).close()


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    fd = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(SinkError, match="no regular file"):
            reopen(tmp_path / "pipe", 0)
    finally:
        os.close(fd)
    with pytest.raises(SinkError) as raised:
        reopen(tmp_path, 0)
    assert raised.value.kind is SinkErrorKind.REFUSED


def test_one_writes_at_a_time(tmp_path: Path) -> None:
    output = create(tmp_path / "f")
    with pytest.raises(SinkError, match="another process writes it"):
        reopen(tmp_path / "f", 0)
    output.close()
    output.close()
    reopen(tmp_path / "f", 0).close()


def test_it_waits_for_the_disk_only_when_it_has_to(tmp_path: Path) -> None:
    counts = Counts()
    output = Output.create(tmp_path / "f", compression="none", counts=counts)
    output.sync()
    assert counts.syncs == 0
    output.write(b"x")
    output.sync()
    output.sync()
    assert counts.syncs == 1
    output.close()


def test_a_write_may_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    output = create(tmp_path / "f")
    assert output.write(b"0123456789") == 10
    output.close()
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_a_failed_sync_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = create(tmp_path / "f")
    output.write(b"x")

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SinkError, match="Input/output error"):
        output.sync()
    assert output.dirty
    output.close()


def test_what_became_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "f"
    output = create(path)
    output.write(b"x")
    assert not output.is_moved()
    path.rename(tmp_path / "g")
    assert output.is_moved()
    path.write_bytes(b"another one")
    assert output.is_moved()
    with open(tmp_path / "g", "ab") as file:
        file.write(b"y")
    with pytest.raises(SinkError, match="holds 2 bytes, but 1 were written"):
        output.is_moved()
    (tmp_path / "g").unlink()
    with pytest.raises(SinkError, match="has been removed"):
        output.is_moved()
    output.close()
