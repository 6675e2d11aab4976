"""What the API sends is what the command line reads, and nothing else is taken for it."""

from collections.abc import Callable

import orjson
import pytest

from repltap.cli.status_document import decode_status
from repltap.net.web import Document, status_document
from repltap.position import Offset
from repltap.status.counters import Counters
from repltap.status.link import SyncProgress
from repltap.status.relay import RelayStatus
from repltap.status.replicas import DisconnectStatus
from tests.net.admin.fakes import NOW, relay_status, upstream

SYNC = SyncProgress(
    offset=Offset(1), total_bytes=None, received_bytes=5, started_at=NOW, last_io_at=NOW
)


@pytest.mark.parametrize(
    "status",
    [
        relay_status(),
        relay_status(journal=None, replicas=()),
        relay_status(upstream=upstream(sync=SYNC, last_io_at=None)),
        relay_status(
            counters=Counters(replica_disconnects={"lag_bytes": 3}, upstream_disconnects={}),
            recent_disconnects=(
                DisconnectStatus(at=NOW, replica="r", reason="of_later", detail="why"),
            ),
        ),
    ],
)
def test_there_and_back(status: RelayStatus) -> None:
    assert decode_status(orjson.dumps(status_document(status))) == status


def test_a_newer_relay_says_more_and_an_older_one_less() -> None:
    document = status_document(relay_status())
    document["invented_later"] = {"x": 1}
    del document["counters"]["net_repl_output_bytes"]  # type: ignore[attr-defined]
    assert decode_status(orjson.dumps(document)) == relay_status()


def put(name: str, value: object) -> Callable[[Document], None]:
    return lambda document: document.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("pid"), "status.pid is missing"),
        (put("pid", "x"), "status.pid is not of type int"),
        (put("disk_full", 1), "status.disk_full is not of type bool"),
        (put("pid", True), "status.pid is not of type int"),
        (put("replicas", {}), "status.replicas is not a list"),
        (
            lambda document: document["counters"].update(replica_disconnects=[]),
            "status.counters.replica_disconnects is not an object",
        ),
        (
            lambda document: document["counters"].update(replica_disconnects={"x": "y"}),
            "status.counters.replica_disconnects.x is not of type int",
        ),
        (put("replicas", [1]), r"status.replicas\[0\] is not an object"),
        (put("upstream", None), "status.upstream is not an object"),
        (
            lambda document: document["upstream"].update(state="levitating"),
            "status.upstream.state is 'levitating', which is not known here",
        ),
    ],
)
def test_what_does_not_fit(change: Callable[[Document], None], message: str) -> None:
    document = status_document(relay_status())
    change(document)
    with pytest.raises(ValueError, match=message):
        decode_status(orjson.dumps(document))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"1", b'{"a":'])
def test_what_is_no_status_at_all(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode_status(body)
