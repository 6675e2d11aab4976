"""Through the store: from a place on, over failovers and full syncs."""

from pathlib import Path

import pytest

from repltap.delivery.commands import builtin_table
from repltap.delivery.monitor.journey import FellBehindError, MonitorJourney
from repltap.delivery.monitor.messages import Place
from repltap.store.options import StoreOptions
from tests.delivery.monitor.screen import Screen
from tests.delivery.stored import OTHER, Stored, sets
from tests.stored import START, command

TABLE = builtin_table()
SMALL = StoreOptions(segment_bytes=100, index_interval_bytes=1, index_interval_seconds=0.0)


def shown(*numbers: int, name: str = "k", db: int = 0) -> list[str | int]:
    return [f'{db} "SET" "{name}:{n}" "{"v" * 20}"' for n in numbers]


class Monitor:
    """A display that goes through a store."""

    def __init__(self, path: Path, place: Place | None) -> None:
        self.screen = Screen()
        self._journey = MonitorJourney(path, place, TABLE, self.screen.display)

    def run(self) -> list[str | int]:
        """Go on as far as that is possible now."""
        while self._journey.step():
            pass
        return self.screen.take()

    def look(self) -> None:
        """Look once."""
        self._journey.step()


def test_from_a_place_on(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0, 1))
    monitor = Monitor(tmp_path, Place(1, stored.end))
    monitor.screen.display.mark(1, Place(1, stored.end))
    assert monitor.run() == [1]
    stored.append(command(b"SELECT", b"4") + sets(2))
    assert monitor.run() == ['4 "SELECT" "4"', *shown(2, db=4)]
    assert monitor.run() == []
    stored.close()


def test_a_command_that_is_torn_there_is_shown(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0) + sets(1)[:9])
    monitor = Monitor(tmp_path, Place(1, stored.end))
    monitor.screen.display.mark(1, Place(1, stored.end))
    monitor.run()
    stored.append(sets(1)[9:])
    monitor.screen.take()
    assert monitor.screen.display is not None
    again = Monitor(tmp_path, Place(1, stored.end - 3))
    again.screen.display.mark(1, Place(1, stored.end - 3))
    assert again.run() == [1, *shown(1)]
    stored.close()


def test_the_database_there_is_found(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(command(b"SELECT", b"9") + sets(0))
    monitor = Monitor(tmp_path, Place(1, stored.end))
    monitor.run()
    stored.append(sets(1))
    assert monitor.run() == shown(1, db=9)
    stored.close()


def test_a_snapshot_tells_the_database_where_no_select_is_stored(tmp_path: Path) -> None:
    stored = Stored(tmp_path, SMALL).begin(sets(*range(10)))
    stored.add_snapshot(b"a")  # its stream's database is 0
    stored.append(sets(*range(10, 20)))
    stored.trim(START + 300)
    monitor = Monitor(tmp_path, Place(1, stored.end))
    monitor.run()
    stored.append(sets(20))
    assert monitor.run() == shown(20)
    stored.close()


def test_where_nothing_is_stored_yet(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    monitor = Monitor(tmp_path, None)
    monitor.screen.display.mark(1, Place(0, 0))
    assert monitor.run() == []
    stored.begin(sets(0))
    assert monitor.run() == [1, *shown(0)]
    stored.close()


def test_what_the_index_does_not_cover_yet_is_waited_for(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    monitor = Monitor(tmp_path, Place(1, stored.end + 5))
    monitor.screen.display.mark(1, Place(1, stored.end + 5))
    assert monitor.run() == []
    stored.append(sets(1))
    assert monitor.run() == [1, *shown(1)]
    stored.close()


def test_what_a_failover_has_taken_back_is_not_waited_for_forever(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    monitor = Monitor(tmp_path, Place(1, stored.end + 5000))
    for _ in range(200):
        monitor.look()
    stored.append(sets(1))
    assert monitor.run() == shown(1)
    stored.close()


def test_a_failover_is_gone_over(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    monitor = Monitor(tmp_path, Place(1, stored.end))
    monitor.run()
    lost = command(b"MULTI") + sets(1)
    stored.append(lost)
    assert monitor.run() == []
    monitor.screen.display.mark(1, Place(1, stored.end))
    stored.fail_over(OTHER, lost=len(lost)).append(sets(2))
    assert monitor.run() == [1, *shown(2)]
    stored.close()


def test_a_full_sync_is_gone_over(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    monitor = Monitor(tmp_path, Place(1, stored.end))
    monitor.run()
    stored.append(sets(1))
    stored.begin(sets(2), replid=OTHER, offset=5000)
    monitor.screen.display.mark(1, Place(2, stored.end))
    assert monitor.run() == [*shown(1, 2), 1]
    stored.close()


def test_a_history_that_is_gone_is_followed_by_the_next(tmp_path: Path) -> None:
    stored = Stored(tmp_path).begin(sets(0))
    waits = Monitor(tmp_path, Place(1, stored.end))
    stored.begin(sets(2), replid=OTHER, offset=5000)
    stored.begin(sets(3), replid=OTHER, offset=9000)
    for history in stored.store.others():
        stored.store.discard(history)
    assert waits.run()[-1:] == shown(3)
    stored.close()


def test_what_has_been_trimmed_is_missed(tmp_path: Path) -> None:
    stored = Stored(tmp_path, SMALL).begin(sets(*range(4)))
    place = Place(1, stored.end)
    monitor = Monitor(tmp_path, place)
    monitor.run()
    for number in range(20):
        stored.append(sets(number))
    stored.trim(stored.end - 100)
    with pytest.raises(FellBehindError):
        monitor.run()
    with pytest.raises(FellBehindError):
        Monitor(tmp_path, place).run()
    stored.close()
