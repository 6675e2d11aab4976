"""Records on standard output: the contract, the forms, and a reader that goes away or sleeps."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repltap.sink import Kind, Sink, SinkError, SinkErrorKind
from sinks.stdout import StdoutSink, quoted
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import Driver, StubContext
from tests.sinks.records import Stream, every_entry, every_kind, flat, numbered


class StdoutTarget(Target):
    """A file in place of standard output; what a killed worker has begun to write is whole."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "out"
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def sink(self) -> Sink:
        return StdoutSink({"format": "json"}, fd=self.fd)

    def delivered(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]


class TestContract(SinkContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[Target]:
        made = StdoutTarget(tmp_path)
        yield made
        os.close(made.fd)


class Pipe:
    """A pipe that a sink writes to."""

    def __init__(self, form: str = "json") -> None:
        self.reading, writing = os.pipe()
        self.writing = writing
        self.sink = StdoutSink({"format": form}, fd=writing)
        self.context = StubContext()
        self.sink.open(self.context)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (self.reading, self.writing):
            if fd >= 0:
                os.close(fd)

    def read_all(self) -> bytes:
        os.close(self.writing)
        self.writing = -1
        with os.fdopen(self.reading, "rb", closefd=False) as file:
            return file.read()


def test_text() -> None:
    stream = Stream()
    with Pipe("text") as pipe:
        pipe.sink.write([stream.command(b"SET", "к".encode(), b'a"\\\r\n\t\x00\xff')])
        pipe.sink.write([stream.notice(Kind.GAP, gap=500, reason="quota\n")])
        for batch in stream.snapshot(every_entry()[:3], batch=9):
            pipe.sink.write(batch)
        text = pipe.read_all().decode("ascii").splitlines()
    assert text == [
        r'1700000001.123 [0 1000-1035] "SET" "\xd0\xba" "a\"\\\r\n\t\x00\xff"',
        r'1700000001.158 [- 1035-1535] gap reason="quota\n"',
        "1700000001.658 [- 1535-1535] snapshot_begin",
        '1700000000.123 [0 1535] string "text" "value"',
        text[4],
        '1700000000.123 [0 1535] list "list" ["a", "b"]',
        "1700000001.658 [- 1535-1535] snapshot_end",
    ]
    assert text[4].endswith('" expires=4000000000000 base64')


def test_quotes_as_monitor_does() -> None:
    assert quoted(b'a "b" \\ \x07\x08\x7f') == r'"a \"b\" \\ \a\b\x7f"'


def test_resp_goes_on_within_a_file() -> None:
    with Pipe("resp") as pipe:
        Driver(pipe.sink, every_kind()).run()
        written = pipe.read_all()
    assert written == StubContext().resp_form().write(flat(every_kind()))


def test_nobody_reads_any_more() -> None:
    with Pipe() as pipe:
        os.close(pipe.reading)
        pipe.reading = -1
        with pytest.raises(SinkError, match="nobody reads") as raised:
            pipe.sink.write(numbered(1, batch=1)[0])
        assert not raised.value.passes
        pipe.sink.close()


def test_there_is_none() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(SinkError) as raised:
        StdoutSink({"format": "json"}, fd=writing).open(StubContext())
    assert not raised.value.passes


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_reader_gets_all(blocking: bool) -> None:
    (batch,) = numbered(5000, batch=5000)
    with Pipe() as pipe:
        os.set_blocking(pipe.writing, blocking)
        found: list[bytes] = []

        def read() -> None:
            while sum(map(len, found)) < size:
                found.append(os.read(pipe.reading, 777))

        size = len(pipe.context.json_lines(batch))
        reader = threading.Thread(target=read)
        reader.start()
        pipe.sink.write(batch)
        reader.join()
    assert b"".join(found) == pipe.context.json_lines(batch)
    assert pipe.context.bytes_sent == size


def test_it_stops_although_nobody_reads() -> None:
    (batch,) = numbered(5000, batch=5000)
    with Pipe() as pipe:
        failures: list[SinkError] = []

        def write() -> None:
            try:
                pipe.sink.write(batch)
            except SinkError as failure:
                failures.append(failure)

        writer = threading.Thread(target=write)
        writer.start()
        (first, *_) = pipe.context.json_lines(batch[:1]).splitlines()
        assert os.read(pipe.reading, len(first)) == first
        assert writer.is_alive()
        pipe.context.told_to_stop = True
        writer.join()
        assert [failure.kind for failure in failures] == [SinkErrorKind.AWAY]


def test_a_torn_line_is_ended_before_it_goes_on() -> None:
    (batch,) = numbered(5000, batch=5000)
    with Pipe() as pipe:
        pipe.context.told_to_stop = True
        with pytest.raises(SinkError):
            pipe.sink.write(batch)
        torn = os.read(pipe.reading, 1 << 20)
        assert not torn.endswith(b"\n")
        pipe.context.told_to_stop = False
        pipe.sink.write(batch[:1])
        assert pipe.read_all() == b"\n" + pipe.context.json_lines(batch[:1])
