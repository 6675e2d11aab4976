"""Asking a master that answers what no real one does on demand; real ones are in e2e."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from repltap.config import UpstreamConfig
from repltap.preflight.facts import CONFIG_GET, INFO, Facts
from repltap.preflight.finding import Finding, Level
from repltap.preflight.probe import Probe
from repltap.protocol.resp import InputLimits, RespParser
from tests.servers.ports import silent_port


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())


HELLO = b"*4\r\n" + b"".join(map(bulk, ("server", "redis", "version", "7.0.15")))
FINE = {"PING": b"+PONG\r\n", "HELLO": HELLO, "REPLCONF": b"+OK\r\n", "ACL": b"+OK\r\n"}
REFUSAL = b"-NOPERM no permissions\r\n"


@contextmanager
def master(answers: dict[str, bytes]) -> Iterator[tuple[int, list[str]]]:
    """A server that answers each command by name; what it does not know is refused."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                parser = RespParser(InputLimits())
                parser.authenticated = True
                while data := peer.recv(65536):
                    parser.feed(data)
                    while (command := parser.next_command()) is not None:
                        words = [word.decode() for word in command.args]
                        asked.append(" ".join(words))
                        peer.sendall(answers.get(words[0], REFUSAL))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], asked
        thread.join()


def probe(
    answers: dict[str, bytes], *, sleep: Callable[[float], None] = lambda _: None, **config: str
) -> tuple[dict[str, Finding], Facts | None, list[str]]:
    with master(answers) as (port, asked):
        made = Probe(
            UpstreamConfig(host="127.0.0.1", port=port, **config),  # type: ignore[arg-type]
            3.0,
            sleep,
        )
        facts = made.run()
    return {one.check: one for one in made.findings}, facts, asked


def test_the_least_that_a_relay_needs() -> None:
    found, facts, asked = probe(FINE)
    assert {one.level for one in found.values()} == {Level.OK}
    assert facts is not None
    assert (facts.server, facts.version, facts.info, facts.settings) == (
        "redis",
        (7, 0, 15),
        None,
        {},
    )
    assert set(facts.refused) == {INFO, CONFIG_GET}
    assert not [one for one in asked if one.startswith("PSYNC")]


def test_psync_is_never_asked_of_a_server_that_might_begin() -> None:
    old = FINE | {"ACL": REFUSAL, "HELLO": b"-ERR unknown command\r\n"}
    found, _, asked = probe(old)
    assert found["psync"].level is Level.UNKNOWN
    older = HELLO.replace(b"$6\r\n7.0.15", b"$6\r\n6.0.16")
    found, _, asked = probe(FINE | {"ACL": REFUSAL, "HELLO": older})
    assert found["psync"].level is Level.UNKNOWN
    assert not [one for one in asked if one.startswith("PSYNC")]


def test_psync_by_its_refusal() -> None:
    refusal = b"-ERR PSYNC FAILOVER can't be sent to a master.\r\n"
    found, _, asked = probe(FINE | {"ACL": REFUSAL, "PSYNC": refusal})
    assert found["psync"].level is Level.OK
    assert f"PSYNC {'0' * 40} 1 FAILOVER" in asked
    found, _, _ = probe(FINE | {"ACL": REFUSAL})
    assert found["psync"].level is Level.FAIL


def test_commands_that_are_renamed() -> None:
    answers = FINE | {
        "ACL": b"-ERR Command 'PSYNC' not found\r\n",
        "REPLCONF": b"-ERR unknown command 'REPLCONF', with args beginning with: 'capa'\r\n",
    }
    found, _, _ = probe(answers)
    for name in ("psync", "replconf"):
        assert found[name].level is Level.FAIL
        assert f"rename-command {name.upper()}" in found[name].advice


def test_who_is_not_let_in() -> None:
    found, facts, _ = probe({"PING": b"-NOAUTH Authentication required.\r\n"})
    assert facts is None
    assert found["auth"].level is Level.FAIL
    found, facts, _ = probe({"PING": b"-DENIED Redis is running in protected mode\r\n"})
    assert (facts, found["reach"].level) == (None, Level.FAIL)
    found, facts, _ = probe({"AUTH": b"-WRONGPASS no\r\n"}, username="u", password="secret")
    assert (facts, found["auth"].level) == (None, Level.FAIL)
    assert "secret" not in str(found)


def test_a_master_that_repeats_the_password() -> None:
    """Found by a look at the check of a real Redis 7.0 with `rename-command AUTH`."""
    said = b"-ERR unknown command 'AUTH', with args beginning with: 'hunter2hunter2' \r\n"
    found, _, _ = probe({"AUTH": said}, password="hunter2hunter2")
    assert found["auth"].level is Level.FAIL
    assert "is AUTH renamed or disabled there?" in found["auth"].found
    assert "hunter2" not in str(found)


def test_a_ping_that_is_refused_is_a_warning() -> None:
    found, facts, _ = probe(FINE | {"PING": REFUSAL})
    assert found["auth"].level is Level.OK
    assert facts is not None
    found, _, _ = probe(FINE | {"PING": b"-LOADING Redis is loading the dataset in memory\r\n"})
    assert found["auth"].level is Level.WARN


def test_rates() -> None:
    """The offset where it is counted, else what clients send, without our own question."""
    answers = FINE | {"INFO": bulk("repl_backlog_active:1\r\nmaster_repl_offset:100\r\n")}

    def write(_: float) -> None:
        answers["INFO"] = bulk("repl_backlog_active:1\r\nmaster_repl_offset:5100\r\n")

    _, facts, _ = probe(answers, sleep=write)
    assert facts is not None
    assert facts.rate is not None
    assert facts.rate.exact
    assert facts.rate.bytes_per_second > 0
    quiet = FINE | {"INFO": bulk("repl_backlog_active:0\r\ntotal_net_input_bytes:100\r\n")}

    def ask(_: float) -> None:
        quiet["INFO"] = bulk("repl_backlog_active:0\r\ntotal_net_input_bytes:114\r\n")

    _, facts, _ = probe(quiet, sleep=ask)
    assert facts is not None
    assert facts.rate is not None
    assert (facts.rate.bytes_per_second, facts.rate.exact) == (0, False)


@pytest.mark.parametrize(
    "answer",
    [
        b"*4\r\n*0\r\n+a\r\n+version\r\n:9\r\n",
        b"*2\r\n:1\r\n$-1\r\n",
        b"*2\r\n+version\r\n+" + b"9" * 5000 + b".0.0\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"$-5\r\n",
        b"*4294967294\r\n",
    ],
    ids=["keys", "numbers", "digits", "number", "nothing", "length", "elements"],
)
def test_answers_that_no_server_gives(answer: bytes) -> None:
    """Found by asking whoever says such things: each ended in a traceback, or in gigabytes."""
    odd = dict.fromkeys(("HELLO", "INFO", "CONFIG", "ACL", "REPLCONF", "PSYNC"), answer)
    found, facts, _ = probe(FINE | odd)
    assert found["reach"].level in (Level.OK, Level.FAIL)
    assert facts is None or facts.version is None


def test_who_does_not_speak_redis() -> None:
    for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve(answer: bytes = answer, server: socket.socket = server) -> None:
                peer, _ = server.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            made = Probe(UpstreamConfig(host="127.0.0.1", port=server.getsockname()[1]), 0)
            assert made.run() is None
            thread.join()
        assert [one.level for one in made.findings] == [Level.FAIL]


def test_nobody_there() -> None:
    with silent_port() as port:
        made = Probe(UpstreamConfig(host="127.0.0.1", port=port), 0)
        assert made.run() is None
    assert "Connection refused" in made.findings[0].found
