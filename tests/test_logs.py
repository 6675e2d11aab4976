"""What a log line looks like, for a person and as JSON."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest

from repltap.config import LogConfig
from repltap.logs import PeerLogger, setup

REPLID = "5f1c09ab" + "0" * 32


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("repltap")
    before = root.handlers[:], root.level, own.level, logging.raiseExceptions
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])
    logging.raiseExceptions = before[3]
    logging.captureWarnings(capture=False)


def test_a_line_for_people() -> None:
    out = io.StringIO()
    setup(LogConfig(), out)
    log = PeerLogger("upstream", peer="127.0.0.1:6379")
    log.info("connected after %d attempts", 2)
    log.replid = REPLID
    log.warning("link lost")
    first, second = out.getvalue().splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(
        stamp + r" INFO    upstream 127\.0\.0\.1:6379 connected after 2 attempts", first
    )
    assert re.fullmatch(
        stamp + r" WARNING upstream 127\.0\.0\.1:6379 \[5f1c09ab\] link lost", second
    )


def test_a_line_of_json() -> None:
    out = io.StringIO()
    setup(LogConfig(json=True), out)
    PeerLogger("upstream", peer="m:1", replid=REPLID).info("connected")
    logging.getLogger("repltap.journal").info("plain")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:]{8}\.\d{3}\+00:00", first.pop("time"))
    assert first == {
        "level": "info",
        "logger": "repltap.upstream",
        "message": "connected",
        "peer": "m:1",
        "replid": REPLID,
    }
    assert second["message"] == "plain"
    assert "peer" not in second


def test_a_line_may_name_its_own_peer() -> None:
    out = io.StringIO()
    setup(LogConfig(json=True), out)
    PeerLogger("downstream", peer="a:1").info("moved", extra={"peer": "b:2"})
    assert json.loads(out.getvalue())["peer"] == "b:2"


def test_what_a_peer_sent_cannot_forge_a_line() -> None:
    out = io.StringIO()
    setup(LogConfig(), out)
    logging.getLogger("repltap.upstream").info("it said %s", "x\n2030-01-01 ERROR \x1b[2J")
    assert out.getvalue().count("\n") == 1
    assert r"x\n2030-01-01 ERROR \x1b[2J" in out.getvalue()


def test_json_takes_any_text() -> None:
    out = io.StringIO()
    setup(LogConfig(json=True), out)
    logging.getLogger("repltap.journal").info("file %s", "a\udcff\n")
    assert json.loads(out.getvalue())["message"] == "file a?\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_an_exception_is_told(as_json: bool) -> None:
    out = io.StringIO()
    setup(LogConfig(json=as_json), out)
    try:
        raise OSError("no room")
    except OSError:
        logging.getLogger("repltap.journal").exception("failed")
    told = json.loads(out.getvalue())["exception"] if as_json else out.getvalue()
    assert "Traceback" in told
    assert "OSError: no room" in told


def test_levels() -> None:
    out = io.StringIO()
    setup(LogConfig(level="debug"), out)
    logging.getLogger("repltap.x").debug("ours at debug")
    logging.getLogger("asyncio").info("a library's small talk")
    logging.getLogger("asyncio").warning("a library's warning")
    assert "ours at debug" in out.getvalue()
    assert "small talk" not in out.getvalue()
    assert "a library's warning" in out.getvalue()


def test_warnings_are_logged_and_a_second_setup_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    setup(LogConfig(), first)
    setup(LogConfig(), second)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert first.getvalue() == ""
    assert "UserWarning: old" in second.getvalue()


def test_a_replid_may_be_asked_for() -> None:
    """A history gets another replid at a failover, and the logger is the same."""
    out = io.StringIO()
    setup(LogConfig(json=True), out)
    replids = iter(["a" * 40, "b" * 40])
    log = PeerLogger("upstream", peer="m:1", replid=lambda: next(replids))
    log.info("x")
    log.info("y")
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["replid"][0] for line in found] == ["a", "b"]
