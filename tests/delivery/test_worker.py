import fcntl
from pathlib import Path
from typing import ClassVar

import pytest

from repltap.config import SinkConfig
from repltap.delivery.worker import deliver
from repltap.errors import CorruptStoreError, DataDirInUseError
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import PlainSink, Target, TestBell, shown


class OwnSink(PlainSink):
    """A sink of somebody else."""

    kept: ClassVar[Target] = Target()

    def __init__(self, settings: object) -> None:
        super().__init__(self.kept)


def config(**settings: object) -> SinkConfig:
    kind = f"{OwnSink.__module__}:OwnSink"
    return SinkConfig(name="own", type=kind, settings=settings, origin="a test")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> type[OwnSink]:
    monkeypatch.setattr("repltap.delivery.worker.find_sink", lambda kind, origin: OwnSink)
    OwnSink.kept = Target()
    return OwnSink


def run(path: Path, **settings: object) -> list[str]:
    deliver(
        config(**settings), data_dir=path, source="m", bell=TestBell(), environ={}, until_end=True
    )
    return shown(OwnSink.kept.records)


def test_it_puts_everything_together(tmp_path: Path, found: type[OwnSink]) -> None:
    Stored(tmp_path).begin(sets(1, 2) + sets(3, name=b"other"))
    assert run(tmp_path, include_prefix="k:") == ["SET k:1", "SET k:2"]
    assert (tmp_path / "checkpoints" / "own.json").exists()


def test_one_process_delivers_to_a_sink(tmp_path: Path, found: type[OwnSink]) -> None:
    Stored(tmp_path).begin(sets(1))
    run(tmp_path)
    with open(tmp_path / "checkpoints" / "own.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataDirInUseError, match=r"own\.lock"):
            run(tmp_path)
    run(tmp_path)


def test_a_damaged_checkpoint_is_no_new_beginning(tmp_path: Path, found: type[OwnSink]) -> None:
    Stored(tmp_path).begin(sets(1))
    run(tmp_path)
    (tmp_path / "checkpoints" / "own.json").write_bytes(b"")
    with pytest.raises(CorruptStoreError, match="repltap sink reset own"):
        run(tmp_path)
    assert shown(OwnSink.kept.records) == ["SET k:1"]
