import threading
from pathlib import Path

from repltap.delivery.report import WorkerReport, WorkerState
from repltap.delivery.watch import FileBell
from tests.delivery.stored import Stored, sets


def test_it_wakes_when_the_journal_has_grown_or_begun(tmp_path: Path) -> None:
    bell = FileBell(tmp_path, lambda _: None)
    bell.wait(0.01)
    stored = Stored(tmp_path).begin(sets(1))
    bell.wait(1000)
    stored.append(sets(2))
    bell.wait(1000)
    stored.append(sets(*range(100)))  # other segments
    bell.wait(1000)
    stored.begin(replid="b" * 40)  # type: ignore[arg-type]
    bell.wait(1000)


def test_stop_wakes_it(tmp_path: Path) -> None:
    bell = FileBell(tmp_path, lambda _: None)
    thread = threading.Timer(0.01, bell.stop)
    thread.start()
    bell.wait(1000)
    assert bell.stopping
    thread.join()


def test_reports_and_wishes_are_taken(tmp_path: Path) -> None:
    told: list[WorkerReport] = []
    bell = FileBell(tmp_path, told.append)
    report = WorkerReport(state=WorkerState.STARTING)
    bell.report(report)
    bell.want_snapshot()
    assert told == [report]
    assert bell.wishes == 1
