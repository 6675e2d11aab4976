"""The small files of a log."""

import json
from pathlib import Path

import pytest

from sinks.eventlog import files as module
from sinks.eventlog.batch import crc32c
from sinks.eventlog.files import (
    INDEX,
    Commit,
    CorruptLogError,
    End,
    LogError,
    Meta,
    NoLogError,
    list_segments,
    load_commit,
    load_meta,
    publish,
    save_commit,
    save_meta,
    segment_path,
)

COMMIT = Commit(7, "place", 12.5, (End(0, 100, 3), End(5, 0, 5)))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_meta(tmp_path, Meta("abc", 2))
    save_commit(tmp_path, COMMIT)
    assert load_meta(tmp_path) == Meta("abc", 2)
    assert load_commit(tmp_path, 2) == COMMIT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["commit.json", "log.json"]


def test_the_checksum_is_that_of_the_rest(tmp_path: Path) -> None:
    save_meta(tmp_path, Meta("abc", 2))
    document = json.loads((tmp_path / "log.json").read_text())
    crc = document.pop("crc32c")
    rest = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert crc == crc32c(rest.encode())


def test_every_byte_that_changes_is_noticed(tmp_path: Path) -> None:
    """But white space, which says nothing."""
    save_commit(tmp_path, COMMIT)
    path = tmp_path / "commit.json"
    raw = path.read_bytes()
    for position in range(len(raw)):
        for bit in (1, 32):
            broken = bytearray(raw)
            broken[position] ^= bit
            path.write_bytes(broken)
            try:
                assert load_commit(tmp_path, 2) == COMMIT
            except CorruptLogError:
                continue
            assert chr(raw[position]).isspace()
    for length in range(len(raw) - 1):
        path.write_bytes(raw[:length])
        with pytest.raises(CorruptLogError):
            load_commit(tmp_path, 2)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"commit": 1, "place": None, "time": 0, "ends": [[0, 0, 0]]},
        {"commit": 1, "place": None, "time": 0, "ends": [[0, 0, 0], [0, -1, 0]]},
        {"commit": 1, "place": None, "time": 0, "ends": [[0, 0, 0], [0, 0]]},
        {"commit": "x", "place": None, "time": 0, "ends": [[0, 0, 0], [0, 0, 0]]},
    ],
)
def test_a_commit_of_something_else(tmp_path: Path, document: dict[str, object]) -> None:
    publish(tmp_path / "commit.json", document)
    with pytest.raises(CorruptLogError, match=r"commit\.json: is damaged or absent"):
        load_commit(tmp_path, 2)


def test_absent_files(tmp_path: Path) -> None:
    with pytest.raises(NoLogError, match="there is no log"):
        load_meta(tmp_path)
    with pytest.raises(CorruptLogError):
        load_commit(tmp_path, 1)


def test_another_format_is_not_guessed_at(tmp_path: Path) -> None:
    publish(tmp_path / "log.json", {"format": 2, "id": "x", "partitions": 1})
    with pytest.raises(LogError, match="has format 2, this version knows 1"):
        load_meta(tmp_path)


@pytest.mark.parametrize("partitions", [0, 65, "x", None])
def test_a_wrong_number_of_partitions(tmp_path: Path, partitions: object) -> None:
    publish(tmp_path / "log.json", {"format": 1, "id": "x", "partitions": partitions})
    with pytest.raises(CorruptLogError):
        load_meta(tmp_path)


def test_no_json_file_is_an_object_of_ours(tmp_path: Path) -> None:
    for content in (b"[]", b"1", b"null", b'{"crc32c": 1}'):
        (tmp_path / "log.json").write_bytes(content)
        with pytest.raises(CorruptLogError):
            load_meta(tmp_path)


def test_what_can_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.json").mkdir()
    with pytest.raises(LogError, match="can't be read"):
        load_meta(tmp_path)


def test_segments_are_listed_in_order(tmp_path: Path) -> None:
    for base in (100, 0, 20):
        segment_path(tmp_path, base).touch()
    segment_path(tmp_path, 7, INDEX).touch()
    (tmp_path / "7.log").touch()
    assert list_segments(tmp_path) == [0, 20, 100]
    assert list_segments(tmp_path, INDEX) == [7]


def test_a_failed_replacement_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_commit(tmp_path, COMMIT)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_all", fail)
    with pytest.raises(OSError, match="No space"):
        save_commit(tmp_path, Commit(8, "p", 0, COMMIT.ends))
    assert load_commit(tmp_path, 2) == COMMIT
    assert [path.name for path in tmp_path.iterdir()] == ["commit.json"]
