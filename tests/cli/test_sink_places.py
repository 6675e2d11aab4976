"""Where sinks are is listed from files alone, and changed only while nobody delivers to them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from repltap.cli.main import main
from repltap.store.checkpoints import Checkpoint, Checkpoints
from tests.cli.stored import COMMANDS, FIRST, STREAM, fill
from tests.stored import OTHER

END = FIRST + len(STREAM)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    fill(tmp_path / "data")
    return tmp_path / "data"


def save(data: Path, sink: str, offset: int) -> Checkpoint:
    place = {"v": 1, "phase": "stream", "history": 1, "replid": OTHER, "offset": offset, "db": 3}
    # In the middle of a minute, as ages are shown in minutes then: a test may take its time.
    saved_at = time.time() - 7530
    made = Checkpoint(sink=sink, place=place, state={"size": 7}, saved_at=saved_at)
    Checkpoints(data / "checkpoints").save(made)
    return made


def stored(data: Path, sink: str) -> Checkpoint | None:
    return Checkpoints(data / "checkpoints").load(sink)


@contextmanager
def delivering(data: Path, sink: str) -> Iterator[None]:
    fd = os.open(data / "checkpoints" / f"{sink}.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def test_ls(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(data, "hand", FIRST)
    save(data, "busy", END - 100)
    with delivering(data, "busy"):
        assert main(["sink", "ls", "--data-dir", str(data), "--sink", "file:/x,sink=busy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Sinks", "sink", "busy", "hand"]
    assert lines[2].split() == [
        *("busy", "file", str(os.getpid()), "1", str(END - 100), "100", "B", "2h", "5m", "ago")
    ]
    assert "not configured" in lines[3]


def test_ls_as_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = save(data, "hand", FIRST)
    assert main(["sink", "ls", "--json", "--data-dir", str(data), "--sink", "stdout"]) == 0
    found = json.loads(capsys.readouterr().out)
    hand, stdout = found["sinks"]
    assert hand == {
        "name": "hand",
        "type": None,
        "configured": False,
        "process": None,
        "place": dict(made.place),
        "saved_at": made.saved_at,
        "reset": False,
        "pinned_bytes": len(STREAM),
        "fault": None,
    }
    assert (stdout["type"], stdout["place"], stdout["pinned_bytes"]) == ("stdout", None, None)


def test_ls_without_the_configuration_of_who_delivers(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(data, "busy", FIRST)
    with delivering(data, "busy"):
        assert main(["sink", "ls", "--data-dir", str(data)]) == 0
    line = capsys.readouterr().out.splitlines()[2]
    assert line.split()[:3] == ["busy", "-", str(os.getpid())]


def test_ls_where_nothing_is(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sink", "ls", "--data-dir", str(data)]) == 0
    assert "no sink is configured" in capsys.readouterr().out


def test_ls_of_no_data_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sink", "ls", "--data-dir", str(tmp_path)]) == 4
    assert "is not a data directory" in capsys.readouterr().err
    # What is configured can be listed before the first start.
    assert main(["sink", "ls", "--data-dir", str(tmp_path), "--sink", "file:/x"]) == 0
    assert "file" in capsys.readouterr().out


def test_ls_of_checkpoints_that_can_not_be_read(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    assert main(["sink", "ls", "--data-dir", str(data)]) == 4
    assert "checkpoints: Permission denied" in capsys.readouterr().err


def test_ls_tells_of_a_checkpoint_that_is_damaged(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(data, "good", FIRST)
    (data / "checkpoints" / "bad.json").write_text("{}")
    assert main(["sink", "ls", "--data-dir", str(data)]) == 5
    captured = capsys.readouterr()
    assert "good" in captured.out
    assert "bad.json" in captured.err


def test_reset_forgets(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(data, "a", FIRST)
    resets = set()
    for _ in range(2):
        assert main(["sink", "reset", "a", "--data-dir", str(data), "--yes"]) == 0
        found = stored(data, "a")
        assert found is not None
        assert (found.place, found.state) == (None, {})
        resets.add(found.reset)
        assert capsys.readouterr().out == "a forgets where it is\n"
    assert len(resets - {""}) == 2


def test_ls_after_a_reset(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(data, "a", FIRST)
    save(data, "gone", FIRST)
    for name in ("a", "gone"):
        assert main(["sink", "reset", name, "--data-dir", str(data), "--yes"]) == 0
    capsys.readouterr()
    at = ["sink", "ls", "--data-dir", str(data), "--sink", "file:/x,sink=a"]
    assert main(at) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:]] == [["a", "file", *"-----"]]
    assert main([*at, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["sinks"]
    assert (found["name"], found["place"], found["reset"]) == ("a", None, True)
    assert found["pinned_bytes"] is None


def test_reset_asks(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = save(data, "a", FIRST)
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert main(["sink", "reset", "a", "--data-dir", str(data)]) != 0
    assert f"a is at offset {FIRST}" in capsys.readouterr().out
    assert stored(data, "a") == made


@pytest.mark.parametrize(
    ("target", "offset", "db"),
    [
        ("earliest", FIRST, 0),
        ("latest", END, 3),
        (str(FIRST + len(COMMANDS[0])), FIRST + len(COMMANDS[0]), 3),
        # Within a command: the next one.
        (str(FIRST + len(COMMANDS[0]) + 1), FIRST + len(COMMANDS[0]) + len(COMMANDS[1]), 3),
        (str(END), END, 3),
    ],
)
def test_reset_to_a_place(data: Path, target: str, offset: int, db: int) -> None:
    before = save(data, "a", FIRST + 5)
    assert main(["sink", "reset", "a", "--data-dir", str(data), "--to", target, "--yes"]) == 0
    found = stored(data, "a")
    assert found is not None
    assert (found.history_number, found.pin, found.place.get("db")) == (1, offset, db)
    assert found.state == before.state
    assert found.reset
    assert found.saved_at > before.saved_at


def test_reset_of_a_sink_whose_checkpoint_is_damaged(data: Path) -> None:
    (data / "checkpoints" / "a.json").write_text("{}")
    assert main(["sink", "reset", "a", "--data-dir", str(data), "--yes"]) == 0
    found = stored(data, "a")
    assert found is not None
    assert found.reset


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a", "--to", "tomorrow"], 2, "none of earliest, latest or an offset"),
        (["a", "--to", str(END + 1)], 4, "is not stored"),
        (["../a"], 2, "not usable"),
        (["b"], 2, "no sink 'b' is known here (known: a; --config FILE if it has it)"),
    ],
)
def test_what_can_not_be_reset(
    data: Path,
    arguments: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(data, "a", FIRST)
    assert main(["sink", "reset", *arguments, "--data-dir", str(data), "--yes"]) == code
    assert said in capsys.readouterr().err


def test_reset_of_a_sink_that_has_a_place_in_its_target_alone(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "repltap.toml"
    config.write_text('[sink.b]\ntype = "stdout"\n')
    words = ["sink", "reset", "b", "--data-dir", str(data), "--yes"]
    assert main(words) == 2
    assert main([*words, "--config", str(config)]) == 0


def test_reset_is_refused_while_somebody_delivers(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = save(data, "a", FIRST)
    with delivering(data, "a"):
        assert main(["sink", "reset", "a", "--data-dir", str(data), "--yes"]) == 4
    assert "a process delivers to the sink a" in capsys.readouterr().err
    assert stored(data, "a") == made


def test_reset_where_nothing_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sink", "reset", "a", "--data-dir", str(tmp_path), "--yes"]) == 4
    assert "no data directory" in capsys.readouterr().err.replace("is not a", "no")
