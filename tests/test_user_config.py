"""Users as the file declares them, with passwords from the file and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from repltap.access import Right
from repltap.errors import ConfigError
from repltap.user_config import MAX_USERS, read_users

FILE = Path("repltap.toml")


def test_nobody() -> None:
    assert read_users(None, FILE) == ()


def test_users_by_name_with_their_rights(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("new\nold\n")
    table = {
        "watch": {"rights": ["status"], "password": "inside"},
        "replicas": {"rights": ["replicate", "status"], "password_file": str(word)},
    }
    first, second = read_users(table, FILE)
    assert (first.name, first.rights) == ("replicas", {Right.REPLICATE, Right.STATUS})
    assert (second.name, second.rights) == ("watch", {Right.STATUS})
    assert "inside" not in repr(second)
    assert len(first.log_in_with({}).digests) == 2
    assert second.log_in_with({}).rights == {Right.STATUS}


def test_a_variable_goes_before_the_file(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("of the file\n")
    (user,) = read_users({"my-replica": {"rights": ["replicate"], "password": "inside"}}, FILE)
    inside = user.log_in_with({})
    by_word = user.log_in_with({"REPLTAP_USER_MY_REPLICA_PASSWORD": "of the file"})
    by_file = user.log_in_with({"REPLTAP_USER_MY_REPLICA_PASSWORD_FILE": str(word)})
    assert by_word == by_file != inside
    both = {
        "REPLTAP_USER_MY_REPLICA_PASSWORD": "x",
        "REPLTAP_USER_MY_REPLICA_PASSWORD_FILE": str(word),
    }
    with pytest.raises(ConfigError, match="more than once"):
        user.log_in_with(both)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rights": ["status"]}, "no password"),
        ({"rights": ["status"], "password": "hush", "password_file": "/f"}, "more than once"),
        ({"rights": ["status"], "password_file": "/nonexistent"}, "/nonexistent"),
    ],
)
def test_a_password_that_is_none(given: dict[str, object], message: str) -> None:
    (user,) = read_users({"u": given}, FILE)
    with pytest.raises(ConfigError, match=message) as caught:
        user.log_in_with({})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("text", "repltap.toml: user: must be a table"),
        ({"u": "text"}, r"repltap.toml: \[user\] u: must be a table"),
        ({"a b": {}}, "no name for a user"),
        ({"default": {"rights": ["status"]}}, "listen.password"),
        ({"u": {"rights": ["status"], "pasword": "hush"}}, "pasword: no such option"),
        ({"u": {"password": "hush"}}, "at least one right"),
        ({"u": {"rights": [], "password": "hush"}}, "at least one right"),
        ({"u": {"rights": "status", "password": "hush"}}, "must be a list"),
        ({"u": {"rights": ["root"], "password": "hush"}}, "'root' is no right"),
        ({"u": {"rights": ["status"], "password": 7}}, "password: must be text"),
        ({"u": {"rights": ["status"], "password_file": 7}}, "password_file: 7 is not a path"),
        (
            {name: {"rights": ["status"], "password": "hush"} for name in ("a-b", "a_b")},
            "users a-b and a_b: both have the variable REPLTAP_USER_A_B_PASSWORD",
        ),
        ({f"u{n}": {} for n in range(MAX_USERS + 1)}, "at most 64"),
    ],
)
def test_what_is_no_table_of_users(table: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_users(table, FILE)
    assert "hush" not in str(caught.value)
