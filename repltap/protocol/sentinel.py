"""One connection to a sentinel: who is the master, which other sentinels are there, and its news.

The guidelines for clients ("Guidelines for Redis clients with support for Redis Sentinel") ask for
GET-MASTER-ADDR-BY-NAME; the epoch of the configuration, from SENTINEL MASTER in the same breath,
tells which of two sentinels that disagree is behind. RESP3, so that one connection can both listen
and ask: HELLO is known to sentinels from 6.0 on.

Replies are bounded, and nothing of the password leaves this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import hiredis

from repltap.errors import RemoteProtocolError
from repltap.protocol.resp import encode_command
from repltap.replies import ReplyReader

Address = tuple[str, int]

MAX_REPLY_BYTES = 256 << 10
"""SENTINEL SENTINELS takes some 600 bytes for each: four hundred of them."""

MAX_ELEMENTS = 16 << 10
"""Sentinels are maps of two times twenty strings: four hundred of them, too."""

MAX_KNOWN = 64
"""Other sentinels that are taken from one answer."""

_MAX_HOST = 255
_MAX_TEXT = 120
_CHANNELS = (b"+switch-master", b"+sentinel")
_QUESTIONS = 4  # MYID, GET-MASTER-ADDR-BY-NAME, MASTER, SENTINELS

Reply = object  # of hiredis: bytes, int, None, lists, dicts, errors


@dataclass(frozen=True, slots=True)
class Known:
    """Another sentinel of the same master, as one tells of it."""

    sentinel_id: str
    address: Address


@dataclass(frozen=True, slots=True)
class MasterTold:
    """What a sentinel has answered.

    Attributes:
        sentinel_id: Its own id, "" where it may not be asked for it.
        master: Where the master is, None when it watches none of this name.
        epoch: Of the configuration that this is from: the newer one is right; None where it may
            not be asked.
        others: The sentinels that it knows.
    """

    sentinel_id: str
    master: Address | None
    epoch: int | None
    others: tuple[Known, ...]


@dataclass(frozen=True, slots=True)
class NewsHeard:
    """It has said that the master has moved, or that there is another sentinel: ask."""

    text: str


SentinelEvent = MasterTold | NewsHeard


class SentinelProtocol:
    """One connection, from HELLO to its end. Asks one question at a time.

    Args:
        master_name: What the sentinels call the master.
        username, password: At the sentinel; None for none.

    Attributes:
        listening: News will come by itself; False where the ACL refuses that, None before it is
            known.
    """

    def __init__(
        self, master_name: str, username: str | None = None, password: str | None = None
    ) -> None:
        self._name = master_name.encode()
        self._password = password
        self._reader = ReplyReader(MAX_REPLY_BYTES, MAX_ELEMENTS)
        self._events: list[SentinelEvent] = []
        self.listening: bool | None = None
        login: tuple[bytes, ...] = ()
        if password is not None:
            login = (b"AUTH", (username or "default").encode(), password.encode())
        self._out = encode_command(b"HELLO", b"3", *login, b"SETNAME", b"repltap")
        self._out += encode_command(b"SUBSCRIBE", *_CHANNELS)
        self._greeted = False
        self._answers: list[Reply] | None = None  # of the question that is out

    @property
    def asking(self) -> bool:
        """A question is out."""
        return self._answers is not None

    def ask(self) -> None:
        """Ask everything; nothing while a question is out."""
        if self._answers is not None:
            return
        self._answers = []
        for words in (
            (b"MYID",),
            (b"GET-MASTER-ADDR-BY-NAME", self._name),
            (b"MASTER", self._name),
            (b"SENTINELS", self._name),
        ):
            self._out += encode_command(b"SENTINEL", *words)

    def data_to_send(self) -> bytes:
        """Take what is to be sent."""
        out, self._out = self._out, b""
        return out

    def receive_data(self, data: bytes) -> None:
        """Take what came.

        Raises:
            RemoteProtocolError: It refuses, or is no sentinel.
        """
        if not self._greeted and data[:1] == b"\x15":  # an alert: our HELLO was no ClientHello
            raise RemoteProtocolError("it speaks TLS there: use rediss-sentinel://")
        try:
            self._reader.feed(data)
            replies = list(iter(self._reader.gets, False))
        except RemoteProtocolError as failure:
            raise RemoteProtocolError(f"this is no sentinel: {failure}") from None
        for reply in replies:
            self._take(reply)

    def events_received(self) -> list[SentinelEvent]:
        """Take the events."""
        events, self._events = self._events, []
        return events

    # -- inside ----------------------------------------------------------------------------------

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, hiredis.PushNotification):
            self._push(list(reply))
        elif not self._greeted:
            self._greet(reply)
        elif self.listening is None:
            # SUBSCRIBE is answered by pushes; this, in their place, can only be its refusal.
            self.listening = False
        else:
            self._answer(reply)

    def _greet(self, reply: Reply) -> None:
        if isinstance(reply, hiredis.ReplyError):
            raise RemoteProtocolError(self._refusal(str(reply)))
        fields = _fields(reply)
        if fields.get("mode") not in ("sentinel", None):
            raise RemoteProtocolError(
                f"this is no sentinel but a server in mode {fields['mode'][:_MAX_TEXT]!r}: give"
                " the sentinels' port, usually 26379"
            )
        self._greeted = True

    def _refusal(self, said: str) -> str:
        code = said.partition(" ")[0]
        if code == "NOAUTH":
            return "the sentinel wants a password: see --upstream-sentinel-password-file"
        if code in ("WRONGPASS", "NOPERM") or "AUTH" in said:
            return (
                f"the sentinel refuses the login ({code}): see --upstream-sentinel-username and"
                " --upstream-sentinel-password-file"
            )
        if "unknown command" in said:
            return "the sentinel does not know HELLO: it is older than 6.0"
        return f"the sentinel refuses us: {self._quoted(said)}"

    def _quoted(self, said: str) -> str:
        if self._password:
            said = said.replace(self._password, "***")
        return "".join(c if c.isprintable() else " " for c in said[:_MAX_TEXT])

    def _push(self, parts: list[Reply]) -> None:
        if parts[:1] == [b"subscribe"]:
            self.listening = True
        if len(parts) != 3 or parts[0] != b"message" or not isinstance(parts[2], bytes):
            return
        words = parts[2].split(b" ")
        # "mymaster ip port ip port", and "sentinel id ip port @ mymaster ip port".
        mine = words[0] if parts[1] == b"+switch-master" else (words[5:6] or [b""])[0]
        if mine == self._name:
            text = parts[2][:_MAX_TEXT].decode("utf-8", "replace")
            self._events.append(NewsHeard("".join(c if c.isprintable() else " " for c in text)))

    def _answer(self, reply: Reply) -> None:
        if self._answers is None:
            raise RemoteProtocolError("the sentinel answered what was not asked")
        self._answers.append(reply)
        if len(self._answers) < _QUESTIONS:
            return
        answers, self._answers = self._answers, None
        my_id, master, described, others = answers
        if isinstance(master, hiredis.ReplyError):
            raise RemoteProtocolError(
                f"the sentinel refuses GET-MASTER-ADDR-BY-NAME: {self._quoted(str(master))}"
            )
        self._events.append(
            MasterTold(
                sentinel_id=_text(my_id) if isinstance(my_id, bytes) else "",
                master=None if master is None else _address(master),
                epoch=_epoch(described),
                others=_others(others),
            )
        )


def _address(reply: Reply) -> Address:
    if isinstance(reply, list) and len(reply) == 2:
        host, port = reply
        if isinstance(host, bytes) and isinstance(port, bytes) and port.isdigit():
            found = _checked(_text(host), _text(port))
            if found is not None:
                return found
    raise RemoteProtocolError("the sentinel's answer is no address")


def _checked(host: str, port: str) -> Address | None:
    if not host or len(host) > _MAX_HOST or not host.isprintable() or " " in host:
        return None
    if not port.isdigit() or len(port) > 5 or not 0 < int(port) <= 65535:
        return None
    return host, int(port)


def _epoch(reply: Reply) -> int | None:
    found = _fields(reply).get("config-epoch", "")
    return int(found) if found.isdigit() and len(found) < 19 else None


def _others(reply: Reply) -> tuple[Known, ...]:
    found: list[Known] = []
    for each in reply[:MAX_KNOWN] if isinstance(reply, list) else []:
        fields = _fields(each)
        address = _checked(fields.get("ip", ""), fields.get("port", ""))
        if address is not None:
            found.append(Known(fields.get("runid", "")[:40], address))
    return tuple(found)


def _fields(reply: Reply) -> dict[str, str]:
    """Read a map; anything else is an empty one."""
    if not isinstance(reply, dict):
        return {}
    return {
        _text(key): _text(value)
        for key, value in reply.items()
        if isinstance(key, bytes) and isinstance(value, bytes)
    }


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
