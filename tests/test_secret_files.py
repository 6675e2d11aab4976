"""Files with one password, and with several."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from repltap.errors import ConfigError
from repltap.secret_files import check_tokens, read_password, read_passwords
from tests.servers.waiting import PATIENCE_SECONDS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "word"


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"a", "a"), (b"a\n", "a"), (b" a b \r\n", " a b "), ("ä".encode(), "ä")],
)
def test_one_password(file: Path, content: bytes, word: str) -> None:
    file.write_bytes(content)
    assert read_password(file) == word
    assert read_passwords(file) == (word,)


def test_several(file: Path) -> None:
    file.write_bytes(b"new\r\nold\n")
    assert read_passwords(file) == ("new", "old")
    with pytest.raises(ConfigError, match="on one line"):
        read_password(file)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"hush\n\n", b"hush\n\nhush", b"hush\n" * 5, b"hush\xff", b"hush" * 5000, None],
)
def test_what_is_no_password_file(file: Path, content: bytes | None) -> None:
    if content is not None:
        file.write_bytes(content)
    for read in (read_password, read_passwords):
        with pytest.raises(ConfigError, match=str(file)) as caught:
            read(file)
        assert "hush" not in str(caught.value)
        for chain in (caught.value.__cause__, caught.value.__context__):
            assert chain is None or isinstance(chain, OSError)  # a UnicodeError holds the bytes


def test_a_fifo_that_nobody_writes_to(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It held up `config check` and the start without end."""
    monkeypatch.setattr("repltap.secret_files._WAIT_SECONDS", 0.05)
    os.mkfifo(file)
    with pytest.raises(ConfigError, match=f"upstream: password_file {file} is no file, and nobody"):
        read_password(file, "upstream: password_file")
    kept_open = os.open(file, os.O_RDWR)  # somebody who writes nothing more
    try:
        os.write(kept_open, b"hush")
        with pytest.raises(ConfigError, match="to its end") as caught:
            read_password(file, "upstream: password_file")
        assert "hush" not in str(caught.value)
    finally:
        os.close(kept_open)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer to start what writes."""
    monkeypatch.setattr("repltap.secret_files._WAIT_SECONDS", PATIENCE_SECONDS)


@pytest.mark.usefixtures("patient")
def test_a_fifo_that_somebody_writes_to_later(file: Path) -> None:
    os.mkfifo(file)
    # Opening it for writing waits for who reads it.
    writer = threading.Thread(target=file.write_bytes, args=(b"hush\n",), daemon=True)
    writer.start()
    assert read_password(file) == "hush"
    writer.join(PATIENCE_SECONDS)
    assert not writer.is_alive()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("closed_before", [True, False])
def test_a_pipe_of_a_shell(closed_before: bool) -> None:
    """As of `<(...)`: what writes may have ended long ago, or not have begun."""
    reading, writing = os.pipe()
    try:
        writer = subprocess.Popen(
            [sys.executable, "-c", "print('hush')"], stdout=writing, close_fds=True
        )
        os.close(writing)
        if closed_before:
            writer.wait(PATIENCE_SECONDS)
        assert read_password(Path(f"/dev/fd/{reading}")) == "hush"
        writer.wait(PATIENCE_SECONDS)
    finally:
        os.close(reading)


def test_a_mounted_secret_of_kubernetes(tmp_path: Path) -> None:
    """A link to a file in a directory that is itself reached by a link."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "word").write_bytes(b"hush")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "word").symlink_to("..data/word")
    assert read_password(tmp_path / "word") == "hush"


def test_what_is_neither_file_nor_pipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        read_password(tmp_path)
    with pytest.raises(ConfigError, match="must hold the password"):
        read_password(Path("/dev/null"))
    with pytest.raises(ConfigError, match="too long"):
        read_password(Path("/dev/zero"))


@pytest.mark.parametrize(
    "token", ["hush\nx", "hush\r", " hush", "hush ", "\thush", "hu\0sh", "hush\x7f"]
)
def test_tokens_that_no_client_can_send(token: str) -> None:
    with pytest.raises(ConfigError, match="http: token: .* control character") as caught:
        check_tokens(["good", token], "http: token")
    assert "hush" not in str(caught.value)


def test_tokens_that_can_be_sent() -> None:
    check_tokens(["", "hush", "two words", "Az09-._~+/=", "ä"], "http: token")
