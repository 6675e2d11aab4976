"""What one end writes the other reads, and what is none is refused."""

import math
from pathlib import Path

import orjson
import pytest

from repltap.config import LogConfig, SinkConfig
from repltap.delivery.messages import (
    MAX_LINE_BYTES,
    MAX_SAMPLES,
    Lines,
    MessageError,
    Start,
    read_report,
    report_line,
)
from repltap.delivery.report import WorkerReport, WorkerState
from repltap.sink import Sample

FULL = WorkerReport(
    state=WorkerState.RETRYING,
    history_number=3,
    committed_offset=10,
    delivered_offset=20,
    pin_offset=9,
    snapshot_offset=5,
    snapshot_records=7,
    records=100,
    sent_bytes=1000,
    commits=4,
    commit_seconds=0.25,
    errors={"away": 2},
    retries=1,
    discarded=3,
    discarded_unintentional=2,
    last_error="no route",
    last_error_at=1700000000.5,
    next_try_at=1700000001.5,
    exactly_once=True,
    samples=(
        Sample("commands_total", "Commands.", {"command": "set"}, 3.0),
        Sample("commands_total", "Commands.", {"command": "del"}, 4.0),
        Sample("other", "Another.", {}, 0.5),
    ),
)


def said(report: WorkerReport) -> dict[str, object]:
    (message,) = Lines("say").receive(report_line(report))
    return message


@pytest.mark.parametrize("report", [FULL, WorkerReport(state=WorkerState.STARTING)])
def test_a_report_arrives_as_it_was(report: WorkerReport) -> None:
    assert read_report(said(report)) == report


def test_a_start_message_arrives_as_it_was() -> None:
    start = Start(
        data_dir=Path("/data"),
        source="orders",
        sink=SinkConfig(
            name="a",
            type="file",
            settings={"x": "\udcff", "y": ("1", "2"), "z": [1, 2], "on": True, "f": 1.5},
            origin="--sink a",
        ),
        log=LogConfig(level="debug"),
    )
    (message,) = Lines("do").receive(start.as_line())
    assert Start.from_fields(message) == start


def test_lines_are_cut_wherever_they_are_split() -> None:
    data = report_line(FULL) + b'{"say":"wait"}\n'
    lines = Lines("say")
    found = [message for byte in data for message in lines.receive(bytes((byte,)))]
    assert [message["say"] for message in found] == ["report", "wait"]


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{}\n", b'{"say":3}\n', b"\xff\n", b"[" * 9999])
def test_what_is_no_message(line: bytes) -> None:
    with pytest.raises(MessageError):
        list(Lines("say").receive(line + b"\n"))


def test_a_line_without_end_is_refused() -> None:
    lines = Lines("say")
    assert list(lines.receive(b" " * MAX_LINE_BYTES)) == []
    with pytest.raises(MessageError, match="more than"):
        list(lines.receive(b" "))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "dancing"),
        ("records", -1),
        ("records", True),
        ("records", "3"),
        ("records", 1 << 63),
        ("committed_offset", -1),
        ("commit_seconds", "x"),
        ("errors", {"bad luck": 1}),
        ("errors", []),
        ("last_error_at", "now"),
        ("samples", [["Upper", "", [[{}, 1]]]]),
        ("samples", [["a", "", [[{"__x": "y"}, 1]]]]),
        ("samples", [["a", "", [[{"x": 3}, 1]]]]),
        ("samples", [["a", "", [[{}, "one"]]]]),
        ("samples", [["a", "", [[{}, 1]] * (MAX_SAMPLES + 1)]]),
        ("samples", [3]),
    ],
)
def test_a_report_that_is_none(name: str, value: object) -> None:
    with pytest.raises(MessageError):
        read_report(said(FULL) | {name: value})


def test_a_report_with_a_field_missing_is_none() -> None:
    for name in said(FULL).keys() - {"say"}:
        rest = {key: value for key, value in said(FULL).items() if key != name}
        with pytest.raises(MessageError):
            read_report(rest)


def test_samples_that_can_not_be_exported_are_left_out() -> None:
    good = Sample("good", "", {"a": "b\udcff"}, math.nan)
    bad = (
        Sample("Bad", "", {}, 1.0),
        Sample("bad-name", "", {}, 1.0),
        Sample("bad", "", {"0": "x"}, 1.0),
        Sample("bad", "", {f"l{n}": "x" for n in range(9)}, 1.0),
    )
    report = WorkerReport(state=WorkerState.STREAMING, samples=(*bad, good))
    (kept,) = read_report(said(report)).samples
    assert (kept.name, kept.labels) == ("good", {"a": "b?"})
    assert math.isnan(kept.value)


def test_the_largest_report_fits_into_a_line() -> None:
    samples = tuple(
        Sample(f"m{n}", "\x01" * 9999, {f"l{i}": "\x01" * 9999 for i in range(8)}, float(n))
        for n in range(MAX_SAMPLES + 10)
    )
    report = WorkerReport(state=WorkerState.FAILED, last_error="\x01" * 99999, samples=samples)
    assert len(report_line(report)) < MAX_LINE_BYTES
    small = tuple(Sample("m", "", {"n": str(n)}, 1.0) for n in range(MAX_SAMPLES + 10))
    report = WorkerReport(state=WorkerState.STREAMING, samples=small)
    assert len(read_report(orjson.loads(report_line(report))).samples) == MAX_SAMPLES
