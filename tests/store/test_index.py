import os
from pathlib import Path

import pytest

from repltap.position import Offset
from repltap.store import index as module
from repltap.store.format import crc32c, pack_record
from repltap.store.index import (
    check_records,
    data_crc,
    first_where,
    read_records,
    record_at,
    scan_segment,
)

DATA = os.urandom(90)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A segment at 1000 with records at 1030, 1060 and 1090."""
    data, index = tmp_path / "d", tmp_path / "i"
    data.write_bytes(DATA)
    index.write_bytes(
        b"".join(pack_record(1000 + n, n, crc32c(DATA[n - 30 : n])) for n in (30, 60, 90))
    )
    return data, index


def test_scan_of_a_sound_segment(files: tuple[Path, Path]) -> None:
    scan = scan_segment(*files, Offset(1000))
    assert (scan.records, scan.end, scan.time_ns, scan.damage, scan.resumes) == (
        3,
        1090,
        90,
        "",
        False,
    )


@pytest.mark.parametrize("position", [0, 29, 30, 59])
def test_scan_knows_a_hole_from_a_torn_tail(files: tuple[Path, Path], position: int) -> None:
    raw = bytearray(DATA)
    raw[position] ^= 1
    files[0].write_bytes(raw)
    scan = scan_segment(*files, Offset(1000))
    assert scan.end == 1000 + position // 30 * 30
    assert scan.resumes
    files[0].write_bytes(raw[: position + 1])
    scan = scan_segment(*files, Offset(1000))
    assert scan.end == 1000 + position // 30 * 30
    assert not scan.resumes


def test_scan_of_a_record_that_goes_back(files: tuple[Path, Path]) -> None:
    with open(files[1], "ab") as file:
        file.write(pack_record(1060, 99, 0))
    scan = scan_segment(*files, Offset(1000))
    assert (scan.end, scan.damage) == (1090, "an index record does not follow the one before it")


def test_scan_of_ragged_ends(files: tuple[Path, Path]) -> None:
    with open(files[1], "ab") as file:
        file.write(b"x")
    assert scan_segment(*files, Offset(1000)).damage == "the index ends within a record"
    with open(files[0], "ab") as file:
        file.write(b"xyz")
    assert scan_segment(*files, Offset(1000)).damage == "3 bytes are not covered by the index"
    assert scan_segment(files[0], Path("/nonexistent"), Offset(1000)).records == 0


def test_records_and_search(files: tuple[Path, Path]) -> None:
    index = files[1]
    assert [r.end for r in read_records(index) if r] == [1030, 1060, 1090]
    assert len(read_records(index, 2)) == 2
    assert [first_where(index, 3, lambda r, n=n: r.time_ns > n) for n in (0, 30, 60, 90)] == [
        0,
        1,
        2,
        3,
    ]
    record = record_at(index, 1)
    assert record is not None
    assert record.end == 1060
    assert record_at(index, 3) is None


def test_data_crc(files: tuple[Path, Path]) -> None:
    fd = os.open(files[0], os.O_RDONLY)
    try:
        assert data_crc(fd, 10, 50) == crc32c(DATA[10:60])
        assert data_crc(fd, 10, 0) == 0
        assert data_crc(fd, 80, 11) is None
    finally:
        os.close(fd)


@pytest.mark.parametrize("at_once", [1, 2, 4096])
def test_check_records(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(module, "_READ_RECORDS", at_once)
    raw = bytearray(DATA)
    raw[70] ^= 1
    for content, count, expected in (
        (DATA, 3, (1090, "")),
        (DATA, 0, (1000, "")),
        (DATA, 4, (1090, "an index record does not match its checksum")),
        (raw, 2, (1060, "")),
        (raw, 3, (1060, "the data does not match its checksum")),
        (DATA[:40], 3, (1030, "the data ends before offset 1060, which the index covers")),
    ):
        files[0].write_bytes(content)
        with open(files[0], "rb") as data, open(files[1], "rb") as index:
            found = check_records(data.fileno(), index.fileno(), Offset(1000), count)
        assert found == expected
