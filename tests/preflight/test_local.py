"""This machine: directories and ports."""

import fcntl
import socket
from pathlib import Path
from typing import Any

import pytest

from repltap.config import Config, StoreConfig, load
from repltap.preflight.finding import Finding, Level
from repltap.preflight.local import check_addresses, check_announced, check_data_dir
from tests.servers.ports import free_port, has_ipv6

GIB = 1 << 30


def look(directory: Path, snapshot: int | None = 1 << 20, **changes: int) -> dict[str, Finding]:
    store = StoreConfig(
        data_dir=directory, **{"retain_bytes": 1 << 20, "min_free_bytes": 0, **changes}
    )  # type: ignore[arg-type]
    return {one.check: one for one in check_data_dir(store, snapshot)}


def test_a_directory_that_is_there_and_one_that_will_be(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert {one.level for one in found.values()} == {Level.OK}
    assert look(tmp_path / "a" / "b")["data-dir"].found.endswith("a/b will be made")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert look(tmp_path / "file")["data-dir"].level is Level.FAIL
    assert look(tmp_path / "file" / "below")["data-dir"].level is Level.FAIL


def test_a_directory_that_is_in_use(tmp_path: Path) -> None:
    with (tmp_path / "repltap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert look(tmp_path)["data-dir"].level is Level.WARN
    assert look(tmp_path)["data-dir"].level is Level.OK


def test_room(tmp_path: Path) -> None:
    quota = {"quota_bytes": 100 << 20}
    assert look(tmp_path, 40 << 20, **quota)["quota"].level is Level.OK
    assert look(tmp_path, 50 << 20, **quota)["quota"].level is Level.WARN
    failing = look(tmp_path, 1001 << 20, **quota)["quota"]
    assert failing.level is Level.FAIL
    assert "2003mb" in failing.advice
    assert look(tmp_path, None, **quota)["quota"].level is Level.UNKNOWN
    assert look(tmp_path, 1 << 60)["disk"].level is Level.FAIL
    assert look(tmp_path, None)["quota"].level is Level.OK


def configured(tmp_path: Path, listen: str, http: str | None = None) -> Config:
    flags = {"upstream": "redis://m", "listen": listen, "http": http, "data_dir": str(tmp_path)}
    return load(flags, {}, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_addresses(tmp_path: Path, host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("no IPv6 loopback here")
    with socket.socket(socket.AF_INET6 if host == "[::1]" else socket.AF_INET) as taken:
        taken.bind((host.strip("[]"), free_port()))  # one that nobody is given when it is free
        taken.listen()
        port = taken.getsockname()[1]
        config = configured(tmp_path, f"{host}:{port}", f"{host}:0")
        listen, http = check_addresses(config)
        assert (listen.check, listen.level) == ("listen", Level.FAIL)
        assert "in use" in listen.found
        assert (http.check, http.level) == ("http", Level.OK)
        running, _ = check_addresses(config, starting=False)
        assert (running.check, running.level) == ("listen", Level.WARN)
        assert "the relay that runs here" in running.advice
    (free,) = check_addresses(configured(tmp_path, f"{host}:{port}"))
    assert free.level is Level.OK


def with_tls(**flags: str) -> Config:
    files = {"listen_tls_cert_file": "c", "listen_tls_key_file": "k"}
    least = {"upstream": "rediss://m", "data_dir": "d", "listen_tls_auth_clients": "no"}
    return load(least | files | flags, {}, None)


def test_the_address_with_tls(tmp_path: Path) -> None:
    """Found in a review: nobody looked at it, and what is announced was the port without TLS."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        secured = f"127.0.0.1:{taken.getsockname()[1]}"
        both = with_tls(listen="127.0.0.1:0", listen_tls_address=secured)
        plain, tls = check_addresses(both)
        assert (plain.check, plain.level) == ("listen", Level.OK)
        assert (tls.check, tls.level) == ("listen-tls-address", Level.FAIL)
        (only,) = check_addresses(with_tls(listen="off", listen_tls_address=secured))
        assert only.check == "listen-tls-address"
    assert check_announced(both).found.endswith(f"and port {secured.rpartition(':')[2]}")
    elsewhere = with_tls(upstream_announce_ip="127.0.0.1", listen_tls_address="127.0.0.2:6390")
    assert "--listen-tls-address 127.0.0.1:6390" in check_announced(elsewhere).advice
    unsecured = with_tls(upstream="redis://m", listen_tls_address=secured)
    assert check_announced(unsecured).found.endswith("and port 6380")


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    (found,) = check_addresses(configured(tmp_path, "192.0.2.1:6380"))
    assert found.level is Level.FAIL
    assert "choose another --listen" in found.advice


@pytest.mark.parametrize(
    ("listen", "announced", "level", "said"),
    [
        ("127.0.0.1", None, Level.OK, "the address that the relay comes from, and port 6380"),
        ("127.0.0.1", "127.0.0.1", Level.OK, "127.0.0.1:6380 leads here"),
        ("0.0.0.0", "localhost", Level.OK, "localhost:6380 leads here"),
        ("127.0.0.1", "192.0.2.1", Level.WARN, "192.0.2.1:6380 is no address of this machine"),
        ("127.0.0.2", "127.0.0.1", Level.WARN, "the relay listens on 127.0.0.2 alone"),
        ("127.0.0.1", "no.such.host.invalid", Level.FAIL, "no.such.host.invalid: "),
    ],
)
def test_what_is_announced(
    listen: str, announced: str | None, level: Level, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def without_network(host: str, *args: Any, **options: Any) -> Any:
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", without_network)
    flags = {"upstream": "redis://m", "data_dir": "d", "listen": f"{listen}:6380"}
    found = check_announced(load(flags | {"upstream_announce_ip": announced}, {}, None))
    assert (found.check, found.level) == ("announce-ip", level)
    assert said in found.found
    assert bool(found.advice) == (level is not Level.OK)
