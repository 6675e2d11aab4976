from repltap.delivery.place import Phase, Place
from repltap.delivery.progress import MAX_SAMPLES, Progress
from repltap.delivery.stream import StreamState
from repltap.errors import SinkError, SinkErrorKind
from repltap.position import Offset
from repltap.sink import Sample
from tests.stored import REPLID


def test_a_report_says_where_it_is() -> None:
    progress = Progress()
    assert progress.report(()).pin_offset is None
    progress.place = Place.stream(3, REPLID, StreamState(120, 0))
    assert progress.report(()).pin_offset == 120
    progress.committed = Place.stream(3, REPLID, StreamState(100, 0))
    report = progress.report(())
    assert (report.history_number, report.pin_offset) == (3, 100)
    assert (report.committed_offset, report.delivered_offset) == (100, 120)


def test_within_a_snapshot_nothing_of_the_stream_is_delivered() -> None:
    progress = Progress()
    progress.place = progress.committed = Place(
        phase=Phase.SNAPSHOT, history=3, replid=REPLID, offset=Offset(100), ordinal=7
    )
    report = progress.report(())
    assert (report.snapshot_offset, report.snapshot_records) == (100, 7)
    assert report.committed_offset is report.delivered_offset is None
    assert report.pin_offset == 100


def test_errors_and_samples_are_counted() -> None:
    progress = Progress()
    progress.failed(SinkError("away", kind=SinkErrorKind.AWAY))
    progress.failed(SinkError("away again", kind=SinkErrorKind.AWAY))
    progress.discard(3, intentional=True)
    progress.discard(2, intentional=False)
    progress.sent(10)
    report = progress.report((Sample("x", "", {}, 1.0),) * (MAX_SAMPLES + 1))
    assert report.errors == {"away": 2}
    assert report.last_error == "away again"
    assert report.last_error_at is not None
    assert (report.discarded, report.discarded_unintentional, report.sent_bytes) == (3, 2, 10)
    assert len(report.samples) == MAX_SAMPLES
