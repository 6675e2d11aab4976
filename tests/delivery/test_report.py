"""What a worker says of itself."""

from repltap.delivery.report import WorkerReport, WorkerState


def test_a_worker_that_has_just_started_claims_nothing() -> None:
    report = WorkerReport(state=WorkerState.STARTING)
    assert report.committed_offset is None
    assert report.pin_offset is None
    assert not report.last_error
