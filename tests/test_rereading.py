"""What SIGHUP reads again: the secrets of the configuration, as they were given at the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from repltap.access import Users, digest
from repltap.errors import ConfigError
from repltap.net.discovery import Discovery
from repltap.net.downstream import Downstream
from repltap.net.login_watch import LoginWatch
from repltap.net.upstream import UpstreamLink
from repltap.net.web_access import WebAccess
from repltap.reload import Reloads, Take
from repltap.rereading import Sources, add_secrets, add_tokens


class Gathered(Reloads):
    """What was registered."""

    def __init__(self) -> None:
        self.parts: dict[str, Callable[[], Take]] = {}

    def add(self, part: str, read: Callable[[], Take]) -> None:
        self.parts[part] = read


class FakeLink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[tuple[str | None, str | None]] = []
        self.same = False

    def take_credentials(self, username: str | None, password: str | None) -> bool:
        self.taken.append((username, password))
        return not self.same


def test_the_master_password_is_read_from_its_file_again(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    flags = {"upstream": "redis://tap@10.0.0.1:6379", "upstream_password_file": str(file)}
    reloads, link = Gathered(), FakeLink()
    add_secrets(reloads, Sources(flags, {}, None), cast(UpstreamLink, link), cast(Downstream, None))
    read = reloads.parts["upstream password"]
    file.write_text("second\n")
    take = read()
    assert link.taken == []  # not before it is put into effect
    assert "next connection" in take()
    assert link.taken == [("tap", "second")]
    link.same = True
    assert read()() == "nothing changed"

    file.write_text("")
    with pytest.raises(ConfigError, match="must hold the password"):
        read()
    file.unlink()
    with pytest.raises(ConfigError, match=str(file)):
        read()
    assert len(link.taken) == 2


def test_the_configuration_file_is_read_again_too(tmp_path: Path) -> None:
    file = tmp_path / "repltap.toml"
    file.write_text('[upstream]\nurl = "redis://10.0.0.1"\npassword = "inside"\n')
    reloads, link = Gathered(), FakeLink()
    add_secrets(reloads, Sources({}, {}, file), cast(UpstreamLink, link), cast(Downstream, None))
    reloads.parts["upstream password"]()()
    assert link.taken == [(None, "inside")]
    file.write_text("no TOML")
    with pytest.raises(ConfigError, match="not a TOML file"):
        reloads.parts["upstream password"]()


def test_sources_show_nothing_of_themselves() -> None:
    assert "hunter2" not in repr(Sources({}, {"REPLTAP_UPSTREAM_PASSWORD": "hunter2"}, None))


class FakePort:
    """Keeps who may log in."""

    def __init__(self) -> None:
        self.users = Users()
        self.ended = 0

    def take_users(self, users: Users) -> int:
        self.users = users
        return self.ended


def test_the_users_of_the_port_are_read_again(tmp_path: Path) -> None:
    file, word = tmp_path / "repltap.toml", tmp_path / "word"
    declared = f'[user.replicas]\nrights = ["replicate"]\npassword_file = "{word}"\n'
    file.write_text(declared)
    word.write_text("one\n")
    reloads, port = Gathered(), FakePort()
    link = cast(UpstreamLink, FakeLink())
    environ = {"REPLTAP_LISTEN_PASSWORD": "boss"}
    add_secrets(reloads, Sources({}, environ, file), link, cast(Downstream, port))
    read = reloads.parts["users of the port"]
    assert read()() == "changed: default, replicas"
    assert read()() == "nothing changed"

    word.write_text("two\none\n")
    port.ended = 2
    assert read()() == "changed: default, replicas; 2 connections ended for want of a right"
    assert port.users.check(b"replicas", b"two")
    assert port.users.check(b"replicas", b"one")

    file.write_text(declared.replace("replicate", "everything"))
    with pytest.raises(ConfigError, match="'everything' is no right"):
        read()
    assert port.users.check(b"replicas", b"two")


def test_a_reload_never_opens_what_was_closed(tmp_path: Path) -> None:
    """Found in a review: a file caught while it was written let everybody in."""
    file = tmp_path / "repltap.toml"
    whole = '[http]\naddress = "127.0.0.1:0"\ntoken = "word"\n[listen]\npassword = "boss"\n'
    file.write_text(whole)
    sources, reloads, port = Sources({}, {}, file), Gathered(), FakePort()
    access = WebAccess((digest("word"),), LoginWatch())
    add_secrets(reloads, sources, cast(UpstreamLink, FakeLink()), cast(Downstream, port))
    add_tokens(reloads, sources, access)
    reloads.parts["users of the port"]()()
    for end in (0, whole.index("token"), whole.index("password")):
        file.write_text(whole[:end])
        for part in ("users of the port", "HTTP token") if end < 40 else ("users of the port",):
            with pytest.raises(ConfigError, match="everybody would be let in"):
                reloads.parts[part]()
    assert port.users.check(b"default", b"boss")
    assert access.digests == (digest("word"),)


def test_the_tokens_of_http_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    access = WebAccess((digest("one"),), LoginWatch())
    reloads = Gathered()
    add_tokens(reloads, Sources({"http_token_file": str(file)}, {}, None), access)
    read = reloads.parts["HTTP token"]
    assert read()() == "nothing changed"
    file.write_text("two\none\n")
    assert read()() == "changed"
    assert access.digests == (digest("two"), digest("one"))
    file.unlink()
    with pytest.raises(ConfigError, match=str(file)):
        read()


class FakeDiscovery:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.used: tuple[str | None, str | None] = (None, None)

    def take_credentials(self, username: str | None, password: str | None) -> bool:
        before, self.used = self.used, (username, password)
        return before != self.used


def test_the_password_at_the_sentinels_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "word"
    file.write_text("one\n")
    flags = {
        "upstream": "redis-sentinel://10.0.0.1:26379/mymaster",
        "upstream_sentinel_password_file": str(file),
    }
    reloads, discovery = Gathered(), FakeDiscovery()
    add_secrets(
        reloads,
        Sources(flags, {}, None),
        cast(UpstreamLink, FakeLink()),
        cast(Downstream, None),
        cast(Discovery, discovery),
    )
    read = reloads.parts["sentinels' password"]
    assert read()().startswith("changed")
    assert read()() == "nothing changed"
    file.write_text("two\n")
    read()()
    assert discovery.used == (None, "two")
