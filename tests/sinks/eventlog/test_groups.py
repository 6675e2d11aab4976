"""Consumer groups: whose partition it is, and where the next one goes on."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sinks.eventlog import groups as module
from sinks.eventlog.files import CorruptLogError, LogError, OffsetOutOfRangeError, publish
from sinks.eventlog.groups import Consumer, Group, group_name, list_groups
from sinks.eventlog.reader import LogReader, PartitionReader
from tests.servers.waiting import wait_for
from tests.sinks.eventlog.logs import add, make_log, numbers_of, open_log

COUNT = 30


@pytest.fixture
def log(tmp_path: Path) -> LogReader:
    writer = open_log(tmp_path / "log", partitions=2)
    for number in range(COUNT):
        add(writer, [number], partition=number % 2)
    writer.make_commit("p")
    writer.close()
    return LogReader(tmp_path / "log")


def member(log: LogReader, name: str | None = "g", **more: str | None) -> Consumer:
    group = None if name is None else Group(log, name)
    return Consumer(log, [0, 1], PartitionReader.earliest, group=group, **more)


def take(consumer: Consumer, count: int = 10**6) -> list[int]:
    found: list[int] = []
    while len(found) < count and (polled := consumer.poll(count - len(found))):
        found += numbers_of(polled[1])
    return found


def test_all_partitions_are_read_in_turn_and_in_order(log: LogReader) -> None:
    with member(log, None) as consumer:
        found = take(consumer)
    assert sorted(found) == list(range(COUNT))
    assert [n for n in found if n % 2] == list(range(1, COUNT, 2))
    assert [n for n in found if not n % 2] == list(range(0, COUNT, 2))
    assert {n % 2 for n in found[:6]} == {0, 1}


def test_the_next_member_goes_on_where_it_was_committed(log: LogReader) -> None:
    found = []
    for _ in range(5):
        with member(log) as consumer:
            found += take(consumer, 7)
            consumer.done()
            consumer.commit()
    assert sorted(found) == list(range(COUNT))


def test_what_was_not_done_is_given_again(log: LogReader) -> None:
    with member(log) as consumer:
        first = take(consumer, 7)
        consumer.done()
        take(consumer, 5)
        consumer.commit()
    with member(log) as consumer:
        assert sorted(first + take(consumer)) == list(range(COUNT))


def test_a_place_counts_before_anything_was_read(log: LogReader) -> None:
    """Who begins at the end gets, in the next run, what came in between."""
    group = Group(log, "late")
    with Consumer(log, [0], PartitionReader.latest, group=group) as consumer:
        assert take(consumer) == []
        consumer.commit()
    writer = open_log(log.directory, partitions=2)
    add(writer, [100])
    writer.make_commit("p")
    writer.close()
    with Consumer(log, [0], PartitionReader.latest, group=group) as consumer:
        assert take(consumer) == [100]


def test_a_limit_leaves_the_rest_of_a_batch(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "log")
    for number in range(10):
        writer.add(0, number, None, b"%d" % number, b"\0")
    writer.make_commit("p")
    writer.close()
    with Consumer(LogReader(tmp_path / "log"), [0], PartitionReader.earliest) as consumer:
        found = []
        while polled := consumer.poll(3):
            found.append([int(record.value) for record in polled[1]])
    assert found == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_two_members_never_have_the_same_partition(log: LogReader) -> None:
    with Consumer(log, [1], PartitionReader.earliest, group=Group(log, "g")) as other:
        with member(log) as consumer:
            assert (consumer.partitions, consumer.missing) == ([0], [1])
            assert take(consumer) == list(range(0, COUNT, 2))
            consumer.done()
            consumer.commit()
            assert take(other, 3) == [1, 3, 5]
            other.done()
            other.commit()
            other.close()
            consumer.claim()
            assert consumer.partitions == [0, 1]
            assert take(consumer) == list(range(7, COUNT, 2))
        with member(log, "another") as third:
            assert third.missing == []


def test_who_only_looks_keeps_no_member_out(
    log: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that began just when groups were listed got no partition. Found by reading."""
    member(log).close()
    with open(log.directory / "groups/g/1.lock", "rb") as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                fcntl.flock(looker, fcntl.LOCK_UN)

        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=pause))
        with member(log) as consumer:
            assert (consumer.missing, len(pauses)) == ([], 3)
            with member(log) as other:  # one that has it is not waited for
                assert (other.missing, len(pauses)) == ([0, 1], 3)
    with open(log.directory / "groups/g/1.lock", "rb") as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        with member(log) as consumer:  # for ever is too long
            assert consumer.missing == [1]


def test_groups_are_listed(log: LogReader) -> None:
    assert list_groups(log) == []
    with member(log) as consumer:
        take(consumer)
        consumer.done()
        consumer.commit()
        states = list_groups(log)
        assert [(s.group, s.partition, s.offset) for s in states] == [("g", 0, 15), ("g", 1, 15)]
        assert {s.member for s in states} == {os.getpid()}
    assert {s.member for s in list_groups(log)} == {None}


def test_an_offset_that_retention_has_removed(log: LogReader) -> None:
    with member(log) as consumer:
        take(consumer, 2)
        consumer.done()
        consumer.commit()
    writer = open_log(log.directory, partitions=2, retain_bytes=0)
    writer.retain()
    writer.close()
    earliest = log.partition(0).earliest()
    assert earliest > 1
    with member(log) as consumer, pytest.raises(OffsetOutOfRangeError, match="--reset earliest"):
        take(consumer)
    with member(log, reset="latest") as consumer:
        assert take(consumer) == []
    with member(log, reset="earliest") as consumer:
        assert min(n for n in take(consumer) if not n % 2) == 2 * earliest


def test_retention_before_the_first_look(log: LogReader) -> None:
    """Who asked for the earliest gets what is the earliest by then."""
    with member(log, None) as consumer:
        writer = open_log(log.directory, partitions=2, retain_bytes=0)
        writer.retain()
        writer.close()
        earliest = log.partition(0).earliest()
        assert earliest > 1
        assert min(n for n in take(consumer) if not n % 2) == 2 * earliest


def test_an_offset_of_a_log_that_was_there_before(log: LogReader, tmp_path: Path) -> None:
    with member(log) as consumer:
        take(consumer, 2)
        consumer.done()
        consumer.commit()
    make_log(tmp_path / "new", 3)
    (tmp_path / "log/groups").rename(tmp_path / "new/groups")
    new = LogReader(tmp_path / "new")
    group = Group(new, "g")
    with pytest.raises(OffsetOutOfRangeError, match="of a log that was here before"):
        Consumer(new, [0], PartitionReader.earliest, group=group)
    with Consumer(new, [0], PartitionReader.earliest, group=group, reset="earliest") as consumer:
        assert take(consumer) == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"offset":1,"log":"x","crc32c":1}'])
def test_a_damaged_offset_is_no_beginning(log: LogReader, content: bytes) -> None:
    with member(log) as consumer:
        consumer.commit()
    (log.directory / "groups/g/1.json").write_bytes(content)
    with pytest.raises(CorruptLogError):
        member(log)
    (log.directory / "groups/g/1.json").unlink()
    publish(log.directory / "groups/g/1.json", {"offset": "x", "log": log.meta.id})
    with pytest.raises(CorruptLogError):
        member(log)
    (log.directory / "groups/g/1.json").unlink()
    member(log).close()  # nothing is held after an error


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "x" * 101, "a\n"])
def test_names_that_are_no_directory(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a group"):
        group_name(name)


def test_a_group_that_can_not_be_written(log: LogReader, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with member(log) as consumer:
        monkeypatch.setattr(module, "publish", fail)
        with pytest.raises(LogError, match="No space left on device"):
            consumer.commit()
    (log.directory / "groups/file").touch()
    with pytest.raises(LogError, match="can't be written"):
        member(log, "file")


def test_a_killed_member_leaves_nothing_out(log: LogReader, tmp_path: Path) -> None:
    """Killed at any moment, again and again: each record is printed, some more than once."""
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "repltap", "sink", "log", "read", "--topic-dir"),
        *(str(log.directory), "--group", "g", "--follow"),
    ]
    writer = open_log(log.directory, partitions=2)
    written = COUNT
    for _ in range(4):
        with open(out, "ab") as file:
            size = out.stat().st_size
            process = subprocess.Popen(command, stdout=file)
            wait_for("it prints", lambda size=size: out.stat().st_size > size, 60)
            for _ in range(20):
                for _ in range(10):
                    add(writer, [written], partition=written % 2)
                    written += 1
                writer.make_commit(str(written))
            process.send_signal(signal.SIGKILL)
            process.wait()
        # It may have printed and committed all: the next one has to have something to print.
        add(writer, [written], partition=written % 2)
        written += 1
        writer.make_commit(str(written))
    writer.close()
    with open(out, "ab") as file:
        subprocess.run(command[:-1], stdout=file, check=True, timeout=60)
    lines = out.read_bytes().splitlines()
    printed = {int(line.split(b".")[0]) for line in lines if line}
    assert printed == set(range(written))
