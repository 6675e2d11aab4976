"""The tables of sinks."""

from repltap.cli.sections import as_text
from repltap.cli.status_view import sections
from repltap.status.sinks import HandSinkStatus, SinkState, SinkStatus
from tests.net.admin.fakes import NOW, relay_status


def test_sinks() -> None:
    sinks = (
        SinkStatus(
            name="audit",
            type="file",
            state=SinkState.STREAMING,
            committed_offset=5000,
            lag_bytes=50,
            lag_seconds=1.5,
            records=1234,
            sent_bytes=2048,
        ),
        SinkStatus(
            name="mirror",
            type="redis",
            state=SinkState.RETRYING,
            errors={"away": 3, "crash": 1},
            last_error="no route to host",
            last_error_at=NOW - 10,
            next_try_at=NOW + 2.5,
            lost_bytes=1 << 20,
        ),
        SinkStatus(name="new", type="file", state=SinkState.SNAPSHOT, snapshot_records=77),
    )
    hand = HandSinkStatus(
        name="old", history_number=1, offset=60, saved_at=NOW - 86400, pinned_bytes=4990
    )
    shown = as_text(sections(relay_status(sinks=sinks, hand_sinks=(hand,))))
    lines = [" ".join(line.split()) for line in shown.partition("\nSinks (3)\n")[2].splitlines()]
    assert lines == [
        "sink type state committed lag in time records sent errors",
        "audit file streaming 5000 50 B 1s 1234 2.0 KiB 0",
        "mirror redis retrying, next try in 2.5s - - - 0 0 B 4",
        "new file snapshot, 77 records - - - 0 0 B 0",
        "",
        "Sinks: what went wrong last",
        "sink when what",
        "mirror 10s ago no route to host",
        "mirror - 1.0 MiB let go for want of room: a gap",
        "",
        "Other sinks with a checkpoint",
        "sink history offset saved kept for it",
        "old 1 60 1d 0h ago 4.9 KiB",
    ]


def test_what_a_sink_met_once_is_shown_calmly() -> None:
    sink = SinkStatus(
        name="a", type="file", state=SinkState.STREAMING, last_error="was away", last_error_at=NOW
    )
    found = sections(relay_status(sinks=(sink,)))
    (errors,) = [section for section in found if section.title.startswith("Sinks: ")]
    assert [cell.tone for cell in errors.rows[0]] == ["", "", ""]
