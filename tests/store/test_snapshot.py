import os
from pathlib import Path

import anycrc
import pytest

from repltap.errors import CorruptStoreError
from repltap.position import Offset
from repltap.store import snapshot as module
from repltap.store.snapshot import Snapshot, load_snapshot

CRC = anycrc.Model("CRC64-REDIS").calc
BODY = b"REDIS0011" + b"y" * 100 + b"\xff"
RDB = BODY + CRC(BODY).to_bytes(8, "little")


def stored(path: Path, data: bytes, crc64: int = 0) -> Snapshot:
    path.write_bytes(data)
    return Snapshot(Offset(3), path, len(data), "REDIS0011", crc64, {"a": "b"}, 1.0, 2.0)


def test_verify_notices_every_flipped_byte(tmp_path: Path) -> None:
    stored(tmp_path / "a.rdb", RDB).verify()
    for position in range(len(RDB)):
        damaged = bytearray(RDB)
        damaged[position] ^= 0x20
        with pytest.raises(CorruptStoreError):
            stored(tmp_path / "a.rdb", bytes(damaged)).verify()


def test_verify_without_a_checksum_in_the_file(tmp_path: Path) -> None:
    data = BODY + bytes(8)
    stored(tmp_path / "a.rdb", data, CRC(BODY)).verify()
    for wrong in (0, 12345, CRC(data)):
        with pytest.raises(CorruptStoreError, match="checksum"):
            stored(tmp_path / "a.rdb", data, wrong).verify()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x20
        with pytest.raises(CorruptStoreError):
            stored(tmp_path / "a.rdb", bytes(damaged), CRC(BODY)).verify()


@pytest.mark.parametrize("crc64", [0, CRC(BODY)])
def test_regression_a_hole_is_not_a_sound_snapshot(tmp_path: Path, crc64: int) -> None:
    """Found while reviewing verify: the CRC-64 of zeros is zero, so a file of zeros passed."""
    with pytest.raises(CorruptStoreError, match="begin with REDIS0011"):
        stored(tmp_path / "a.rdb", bytes(len(RDB)), crc64).verify()


def test_verify_across_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 7, 8, 9, 100, len(RDB) - 8, len(RDB) - 3):
        monkeypatch.setattr(module, "_READ_BYTES", size)
        stored(tmp_path / "a.rdb", RDB).verify()
        stored(tmp_path / "b.rdb", BODY + bytes(8), CRC(BODY)).verify()


def test_metadata_round_trip_and_size(tmp_path: Path) -> None:
    snapshot = stored(tmp_path / "a.rdb", RDB, 2**64 - 1)
    with pytest.raises(FileNotFoundError):
        load_snapshot(snapshot.path)
    snapshot.publish_metadata()
    assert load_snapshot(snapshot.path) == snapshot
    os.truncate(snapshot.path, 5)
    with pytest.raises(CorruptStoreError, match="5 bytes long"):
        load_snapshot(snapshot.path)
    with pytest.raises(CorruptStoreError):
        snapshot.verify()
