"""Sentinel's hello messages, and who may hear which.

Sentinels find each other, and tell each other of a failover, by messages on a channel of every
server that they watch (Redis `sentinelSendHello`, `sentinelProcessHelloMessage`). A sentinel takes
every message that bears the name of a master of its own for news of that master. So a relay that
sentinels of two deployments know, because it has been moved from one to the other, would make one
deployment of them if both call their master `mymaster`: they would elect one leader and re-point
each other's servers. A relay therefore passes on a message only

- if it names the master that the relay follows, and
- to who is no sentinel, or to a sentinel that last named the same master under the same name;

and gives each sentinel its own messages back, without which it would take its subscription for
dead. What is withheld in doubt costs nothing: sentinels hear each other on the master itself and on
every other replica.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

CHANNEL = b"__sentinel__:hello"

MAX_SENTINELS = 64
"""Of whom the last message is kept; a deployment has three or five."""

_TOKENS = 8
_NAME = b"sentinel-"
_NAMED_ID_BYTES = 8  # `sentinel-<8 of the id>-cmd`, `-pubsub` (`sentinelSetClientName`)

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Hello:
    """One message.

    Attributes:
        sentinel_id: Of who says it: 40 hexadecimal characters.
        master_name: What its deployment calls the master.
        master: Where it takes the master to be.
    """

    sentinel_id: bytes
    master_name: bytes
    master: Address


def parse_hello(payload: bytes) -> Hello | None:
    """Read a message; None if Sentinel itself would not heed it."""
    tokens = payload.split(b",")
    if len(tokens) != _TOKENS:
        return None
    sentinel_id, name, host, port = tokens[2], tokens[4], tokens[5], tokens[6]
    if not port.isdigit() or len(port) > 5 or not sentinel_id:
        return None
    return Hello(sentinel_id, name, (host.decode("utf-8", "replace").lower(), int(port)))


class HelloRules:
    """What each sentinel has said last, and who may hear what follows from it."""

    def __init__(self) -> None:
        self._last: OrderedDict[bytes, Hello] = OrderedDict()

    def note(self, hello: Hello) -> None:
        """Keep what a sentinel says."""
        key = hello.sentinel_id[:_NAMED_ID_BYTES]
        self._last[key] = hello
        self._last.move_to_end(key)
        if len(self._last) > MAX_SENTINELS:
            self._last.popitem(last=False)

    def may_hear(self, hello: Hello, client_name: bytes, masters: Collection[Address]) -> bool:
        """Tell whether a subscriber may be told.

        Args:
            hello: What is said.
            client_name: The subscriber's, from CLIENT SETNAME.
            masters: The addresses of the master that is followed; hosts in lower case.
        """
        is_sentinel = client_name.startswith(_NAME)
        key = client_name[len(_NAME) : len(_NAME) + _NAMED_ID_BYTES]
        if is_sentinel and key == hello.sentinel_id[:_NAMED_ID_BYTES]:
            return True
        if hello.master not in masters:
            return False
        if not is_sentinel:
            return True
        said = self._last.get(key)
        return said is not None and said.master in masters and said.master_name == hello.master_name
