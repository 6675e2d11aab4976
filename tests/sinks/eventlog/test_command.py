"""`repltap sink log`, as its users call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repltap.cli.main import main
from sinks.eventlog.files import segment_path
from tests.servers.waiting import wait_for
from tests.sinks.eventlog.logs import add, make_log, open_log, value_of

COUNT = 20


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    make_log(tmp_path / "log", COUNT)
    return tmp_path / "log"


def run(*arguments: str | Path) -> int:
    return main(["sink", "log", *map(str, arguments)])


def values(numbers: range) -> bytes:
    return b"".join(value_of(number) + b"\n" for number in numbers)


def test_values_are_printed(directory: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("read", "--topic-dir", directory) == 0
    assert capfdbinary.readouterr().out == values(range(COUNT))
    assert run("read", "--topic-dir", directory, "--from", "@1.005", "--max", "3") == 0
    assert capfdbinary.readouterr().out == values(range(5, 8))
    assert run("read", "--topic-dir", directory, "--from", "latest") == 0
    assert capfdbinary.readouterr().out == b""


def test_all_of_it_as_json(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("read", "--topic-dir", directory, "--partition", "0", "--from", "7", "--json") == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["offset"] for line in lines] == list(range(7, COUNT))
    assert lines[0]["headers"] == {"id": "x:7", "kind": "command"}


def test_a_group_gets_each_record_once(
    directory: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for _ in range(6):
        assert run("read", "--topic-dir", directory, "--group", "g", "--max", "4") == 0
    assert capfdbinary.readouterr().out == values(range(COUNT))
    writer = open_log(directory)
    add(writer, range(COUNT, COUNT + 5))
    writer.make_commit("p")
    writer.close()
    for _ in range(2):
        assert run("read", "--topic-dir", directory, "--group", "g", "--from", "latest") == 0
    assert capfdbinary.readouterr().out == values(range(COUNT, COUNT + 5))


def test_groups(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("groups", "--topic-dir", directory) == 0
    assert "no group has read this log yet" in capfd.readouterr().out
    run("read", "--topic-dir", directory, "--group", "g", "--max", "4")
    capfd.readouterr()
    assert run("groups", "--topic-dir", directory, "--json") == 0
    (row,) = json.loads(capfd.readouterr().out)["groups"]
    assert row == {"group": "g", "partition": 0, "offset": 4, "lag": 16, "member": None}
    assert run("groups", "--topic-dir", directory) == 0
    assert capfd.readouterr().out.split() == [*row, "g", "0", "4", "16", "-"]


def test_ls(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("ls", "--topic-dir", directory, "--json") == 0
    document = json.loads(capfd.readouterr().out)
    (row,) = document["partitions"]
    assert (row["earliest"], row["latest"], row["first_ts_ms"]) == (0, COUNT, 1000)
    assert row["segments"] == len(list(directory.rglob("*.log")))
    assert row["bytes"] == sum(path.stat().st_size for path in directory.rglob("*.log"))
    assert document["commit"] == 1
    assert run("ls", "--topic-dir", directory) == 0
    head, line = capfd.readouterr().out.splitlines()
    assert head.split()[:3] == ["partition", "earliest", "latest"]
    assert line.split()[:3] == ["0", "0", "20"]


def test_ls_of_an_empty_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_log(tmp_path / "log", 0, partitions=2)
    assert run("ls", "--topic-dir", tmp_path / "log") == 0
    assert capfd.readouterr().out.splitlines()[2].split() == ["1", "0", "0", "1", "0", "-"]


def test_verify(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "--topic-dir", directory) == 0
    assert capfd.readouterr().out.startswith("20 records in ")
    path = segment_path(directory / "partition-0", 0)
    raw = bytearray(path.read_bytes())
    raw[70] ^= 1
    path.write_bytes(raw)
    segment_path(directory / "partition-0", 14, ".index")
    for index in directory.rglob("*.index"):
        index.unlink()
    assert run("verify", "--topic-dir", directory, "--json") == 5
    shown = capfd.readouterr()
    (row,) = json.loads(shown.out)["partitions"]
    assert len(row["damages"]) == 1
    assert f"damaged: {path}: damaged at byte 0, offset 0" in shown.err
    assert "does not fit its segment" in shown.err
    assert run("read", "--topic-dir", directory) == 5
    assert "repltap sink log verify" in capfd.readouterr().err


def test_the_log_of_a_sink(
    directory: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    checkpoints = tmp_path / "data/checkpoints"
    checkpoints.mkdir(parents=True)
    which = ("--sink", "events", "--data-dir", tmp_path / "data")
    assert run("read", *which) == 1
    assert b"has not committed yet" in capfdbinary.readouterr().err
    (checkpoints / "events.json").write_text('{"place":null,"state":{},"reset":"9f2c"}')
    assert run("read", *which) == 1
    assert b"has not committed yet" in capfdbinary.readouterr().err
    (checkpoints / "events.json").write_text(json.dumps({"state": {"dir": str(directory)}}))
    assert run("read", *which) == 0
    assert capfdbinary.readouterr().out == values(range(COUNT))
    for other in ("{}", '{"state": {}}', "[", '{"state": null}'):
        (checkpoints / "events.json").write_text(other)
        assert run("read", *which) == 1
        assert b"is no sink of type log" in capfdbinary.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["read"], "name the log"),
        (["read", "--sink", "x"], "name the log"),
        (["read", "--topic-dir", "LOG", "--partition", "2"], "there is no partition 2"),
        (["read", "--topic-dir", "LOG", "--from", "5"], "say which with --partition"),
        (["read", "--topic-dir", "LOG", "--from", "soon"], "is neither earliest nor latest"),
        (["read", "--topic-dir", "LOG", "--group", "../x"], "is no name of a group"),
    ],
)
def test_wrong_usage(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.delenv("REPLTAP_DATA_DIR", raising=False)
    make_log(tmp_path / "log", 1, partitions=2)
    assert run(*(str(tmp_path / "log") if word == "LOG" else word for word in arguments)) == 2
    assert why in capfd.readouterr().err


def test_an_offset_that_is_not_held(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("read", "--topic-dir", directory, "--from", "99") == 4
    shown = capfd.readouterr().err
    assert "offset 99 is not held: there are 0 to 20" in shown
    assert "--reset earliest or --reset latest goes on" in shown
    assert run("read", "--topic-dir", directory, "--from", "99", "--reset", "latest") == 0
    assert run("ls", "--topic-dir", directory.parent) == 4
    assert "there is no log" in capfd.readouterr().err


class Reader:
    """`repltap sink log read --follow` as a child process."""

    def __init__(self, directory: Path, out: Path, *arguments: str) -> None:
        self.out = out
        with open(out, "wb") as file:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "repltap", "sink", "log", "read"),
                    *("--topic-dir", str(directory), "--follow", *arguments),
                ],
                stdout=file,
            )

    def wait(self, wanted: bytes) -> None:
        wait_for("it is printed", lambda: self.out.read_bytes() == wanted, 60)

    def close(self) -> int:
        self.process.terminate()
        return self.process.wait()


def test_it_follows(directory: Path, tmp_path: Path) -> None:
    reader = Reader(directory, tmp_path / "out")
    writer = open_log(directory)
    try:
        reader.wait(values(range(COUNT)))
        for number in range(COUNT, COUNT + 30, 10):
            add(writer, range(number, number + 10))
            reader.wait(values(range(number)))
            writer.make_commit("p")
            reader.wait(values(range(number + 10)))
        # It waits: what it takes of the processor is what a look now and then takes.
        before = cpu_ticks(reader.process.pid)
        looks = os.stat(directory / "commit.json").st_mtime_ns
        assert looks
        assert cpu_ticks(reader.process.pid) - before < 100
    finally:
        reader.close()
        writer.close()


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_another_member_takes_over(directory: Path, tmp_path: Path) -> None:
    first = Reader(directory, tmp_path / "first", "--group", "g")
    first.wait(values(range(COUNT)))
    run_out = subprocess.run(
        [
            *(sys.executable, "-m", "repltap", "sink", "log", "read"),
            *("--topic-dir", str(directory), "--group", "g"),
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert run_out.stdout == b""
    assert b"every partition is being read by other members" in run_out.stderr
    second = Reader(directory, tmp_path / "second", "--group", "g")
    state = directory / "groups/g/0.json"
    wait_for("the first has committed", state.exists)
    first.close()
    writer = open_log(directory)
    add(writer, range(COUNT, COUNT + 5))
    writer.make_commit("p")
    writer.close()
    second.wait(values(range(COUNT, COUNT + 5)))
    second.close()


def test_nobody_reads_any_more(directory: Path) -> None:
    """As with `| head`: it ends without a word."""
    command = f"{sys.executable} -m repltap sink log read --topic-dir {directory}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"], capture_output=True, check=False
    )
    assert done.returncode in (0, 141)
    assert done.stderr == b""


def test_a_reader_that_is_asked_to_end_has_committed(directory: Path, tmp_path: Path) -> None:
    """SIGTERM, again and again: each record is printed once."""
    writer = open_log(directory)
    printed, written = b"", COUNT
    for number in range(3):
        reader = Reader(directory, tmp_path / f"out{number}", "--group", "g")
        wait_for("it prints", lambda reader=reader: reader.out.stat().st_size > 0, 60)
        for _ in range(5):
            add(writer, range(written, written + 10))
            writer.make_commit("p")
            written += 10
        assert reader.close() == 0
        printed += reader.out.read_bytes()
        add(writer, range(written, written + 1))
        writer.make_commit("p")
        written += 1
    writer.close()
    last = Reader(directory, tmp_path / "last", "--group", "g")
    wait_for("it ends", lambda: printed + last.out.read_bytes() == values(range(written)), 60)
    assert last.close() == 0
