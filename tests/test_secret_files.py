"""Files with one password, and with several."""

from pathlib import Path

import pytest

from repltap.errors import ConfigError
from repltap.secret_files import read_password, read_passwords


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
