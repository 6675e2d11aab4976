"""`repltap sink run`, with a sink that is in no package of repltap's."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from repltap.cli.main import cli, main
from tests.delivery.stored import Stored, sets

SINK = '''
from repltap.sink import Option, Sink, SinkError, path


class Lines(Sink):
    """Writes one line a record."""

    options = (Option(name="path", parse=path, help="Where.", required=True),)
    target = "path"

    def open(self, context):
        self.context = context

    def write(self, records):
        if self.settings["path"].name == "away":
            raise SinkError("the target is away", hint="start it")
        if self.settings["path"].name == "bug":
            raise KeyError("a bug")
        with open(self.settings["path"], "ab") as file:
            file.write(self.context.json_lines(records))

    def commit(self, place):
        return None

    def close(self):
        pass
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_lines_sink.py").write_text(SINK)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_lines_sink:Lines"


@pytest.fixture(autouse=True)
def _unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests keeps its priority, its signals and its logging."""
    monkeypatch.setattr("repltap.delivery.worker.yield_to_others", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("repltap.logs.setup", lambda *_: None)


def run(path: Path, *arguments: str) -> tuple[int, str]:
    words = ["sink", "run", *arguments, "--data-dir", str(path / "data"), "--until-end"]
    done = CliRunner().invoke(cli, words)
    return done.exit_code, done.output + str(done.exception or "")


def test_it_delivers_what_is_stored(tmp_path: Path, plugin: str) -> None:
    stored = Stored(tmp_path / "data").begin(sets(1, 2))
    out = tmp_path / "out"
    config = tmp_path / "repltap.toml"
    config.write_text(f'[sink.lines]\ntype = "{plugin}"\npath = "{out}"\n')
    code, said = run(tmp_path, "lines", "--config", str(config))
    assert code == 0, said
    assert "lines: 2 records" in said
    stored.append(sets(3))
    code, said = run(tmp_path, "lines", "--config", str(config))
    assert "lines: 1 record, 1 commit, committed up to offset " in said
    assert "; what follows is kept for it until `repltap sink reset lines`" in said
    assert out.read_bytes().count(b"\n") == 3


def test_the_source_is_the_master_that_the_store_names(tmp_path: Path, plugin: str) -> None:
    Stored(tmp_path / "data").begin(sets(1))
    out = tmp_path / "out"
    config = tmp_path / "repltap.toml"
    for name, words, source in (("a", (), "a test"), ("b", ("--upstream-name", "shop"), "shop")):
        out.unlink(missing_ok=True)
        config.write_text(f'[sink.{name}]\ntype = "{plugin}"\npath = "{out}"\n')
        code, said = run(tmp_path, name, "--config", str(config), *words)
        assert code == 0, said
        assert f'"source":"{source}"'.encode() in out.read_bytes()


@pytest.mark.parametrize(
    ("name", "code", "text"), [("away", 1, "the target is away (start it)"), ("bug", 1, "crashed")]
)
def test_a_sink_that_fails_ends_a_script(
    tmp_path: Path, plugin: str, name: str, code: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    Stored(tmp_path / "data").begin(sets(1, 2))
    config = tmp_path / "repltap.toml"
    config.write_text(f'[sink.lines]\ntype = "{plugin}"\npath = "{tmp_path / name}"\n')
    with caplog.at_level("WARNING", "repltap.sink"):
        where = ["--config", str(config), "--data-dir", str(tmp_path / "data")]
        found = main(["sink", "run", "lines", *where, "--until-end"])
    assert found == code
    assert text in caplog.text


def test_a_directory_without_a_store_is_an_error(tmp_path: Path, plugin: str) -> None:
    config = tmp_path / "repltap.toml"
    config.write_text(f'[sink.lines]\ntype = "{plugin}"\npath = "x"\n')
    code, said = run(tmp_path, "lines", "--config", str(config))
    assert code != 0
    assert "is not a data directory of repltap" in said
    assert not (tmp_path / "data").exists()


def test_a_sink_that_is_not_configured_is_an_error(tmp_path: Path, plugin: str) -> None:
    code, said = run(tmp_path, "nothing")
    assert code != 0
    assert "no sink 'nothing' is configured" in said
