import errno
import os
from pathlib import Path

import pytest

from repltap.errors import CorruptStoreError, DataDirError, DiskFullError, OpenFilesError
from repltap.store import metadata
from repltap.store.metadata import load_json, publish_json, replace_file, storage_error


def test_round_trip_and_replacement(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    publish_json(path, {"offset": 2**62, "name": "ü", "list": [1, None]})
    publish_json(path, {"offset": 2**62 + 1, "name": "ü", "list": [1, None]})
    assert load_json(path) == {"offset": 2**62 + 1, "name": "ü", "list": [1, None]}
    assert os.listdir(tmp_path) == ["a.json"]


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    fields = {"replid": "ab" * 20, "offset": 1234567}
    publish_json(path, fields)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for flip in (0x01, 0x10, 0x80):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                loaded = load_json(path)
            except CorruptStoreError:
                continue
            assert loaded == fields  # white space


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff\xfe", b"[" * 9999])
def test_what_it_did_not_write_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(CorruptStoreError, match=str(path)):
        load_json(path)


def test_absent_is_not_corrupt(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_json(tmp_path / "a.json")


def test_failed_replacement_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    replace_file(path, b"old")

    def no_room(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(metadata.os, "fsync", no_room)
    with pytest.raises(DiskFullError):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_errors_are_translated(tmp_path: Path) -> None:
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert isinstance(storage_error(OSError(code, "x"), tmp_path), DiskFullError)
    for code in (errno.EIO, errno.EACCES, errno.EROFS):
        assert isinstance(storage_error(OSError(code, "x"), tmp_path), DataDirError)
    with pytest.raises(DataDirError):
        replace_file(tmp_path / "no" / "such", b"")


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.EMFILE, "ulimit -n.*LimitNOFILE="), (errno.ENFILE, "fs.file-max")]
)
def test_regression_a_limit_of_open_files_is_not_a_broken_disk(
    tmp_path: Path, code: int, hint: str
) -> None:
    """Found in review: idle connections took the last descriptor, and the hint blamed the disk."""
    failure = storage_error(OSError(code, "Too many open files"), tmp_path)
    assert isinstance(failure, OpenFilesError)
    assert not isinstance(failure, DataDirError)
    with pytest.raises(OpenFilesError, match=hint):
        raise failure
