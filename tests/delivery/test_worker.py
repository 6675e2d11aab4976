import fcntl
import logging
from pathlib import Path
from typing import ClassVar

import pytest

from repltap.config import SinkConfig
from repltap.delivery.runner import Runner
from repltap.delivery.worker import deliver
from repltap.errors import CorruptStoreError, DataDirError, DataDirInUseError
from repltap.store.checkpoints import Checkpoint, Checkpoints
from tests.delivery.stored import Stored, sets
from tests.delivery.targets import PlainSink, Target, TestBell, shown
from tests.stored import REPLID, START


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


def test_the_log_says_which_history_it_has_come_to(
    tmp_path: Path, found: type[OwnSink], caplog: pytest.LogCaptureFixture
) -> None:
    Stored(tmp_path).begin(sets(1))
    caplog.set_level("INFO")
    run(tmp_path)
    run(tmp_path)
    lines = {r.getMessage().split()[0]: getattr(r, "replid", "") for r in caplog.records}
    assert lines == {"begins;": "", "goes": REPLID}
    assert not logging.getLogger("repltap.sink.own").filters


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


def test_nothing_is_made_where_no_store_is(tmp_path: Path, found: type[OwnSink]) -> None:
    with pytest.raises(DataDirError, match="not a data directory"):
        run(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_a_place_that_only_a_later_version_knows(tmp_path: Path, found: type[OwnSink]) -> None:
    Stored(tmp_path).begin(sets(1))
    place = {"v": 2, "history": 1, "replid": REPLID, "offset": START}
    saved = Checkpoint(sink="own", place=place, state={}, saved_at=0.0)
    Checkpoints(tmp_path / "checkpoints").save(saved)
    with pytest.raises(CorruptStoreError, match=r"own\.json.*later version.*sink reset own"):
        run(tmp_path)
    assert OwnSink.kept.records == []


def test_a_sink_that_waits_by_itself_goes_on_reporting(
    tmp_path: Path, found: type[OwnSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    Stored(tmp_path).begin(sets(1))
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setitem(Runner.__init__.__kwdefaults__, "clock", lambda: clock[0])
    bell = TestBell()

    def write(self: OwnSink, records: object) -> None:
        before = len(bell.reports)
        self.context.wait(100)  # type: ignore[attr-defined]
        OwnSink.kept.calls.append(f"reported {len(bell.reports) - before}")

    def open_(self: OwnSink, context: object) -> None:
        self.context = context  # type: ignore[attr-defined]

    def passing(seconds: float) -> None:
        bell.waits += 1
        clock[0] += seconds

    monkeypatch.setattr(bell, "wait", passing)
    monkeypatch.setattr(OwnSink, "open", open_)
    monkeypatch.setattr(OwnSink, "write", write)
    deliver(config(), data_dir=tmp_path, source="m", bell=bell, environ={}, until_end=True)
    (said,) = [call for call in OwnSink.kept.calls if call.startswith("reported")]
    assert int(said.split()[1]) > 90
