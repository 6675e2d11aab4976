"""The note of what a sink has been given."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.errors import DataDirError
from repltap.store.given import GivenNote


def test_the_last_note_is_found_again(tmp_path: Path) -> None:
    note = GivenNote(tmp_path / "a.given")
    assert note.read() == ""
    for text in ("a long one" * 20, "short", "x" * 512):
        note.write(text)
        assert GivenNote(tmp_path / "a.given").read() == text
        assert (tmp_path / "a.given").stat().st_size == 512
    note.forget()
    note.forget()
    assert note.read() == ""


def test_one_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    note = GivenNote(tmp_path / "a.given")
    note.write("before")
    with pytest.raises(ValueError, match="513"):
        note.write("x" * 513)
    assert note.read() == "before"


def test_what_is_no_text_is_no_note_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.given").write_bytes(bytes(512))
    assert GivenNote(tmp_path / "a.given").read().strip("\0") == ""


def test_an_error_of_the_disk_is_ours(tmp_path: Path) -> None:
    note = GivenNote(tmp_path / "missing" / "a.given")
    with pytest.raises(DataDirError):
        note.write("x")
    (tmp_path / "directory").mkdir()
    with pytest.raises(DataDirError):
        GivenNote(tmp_path / "directory").read()
