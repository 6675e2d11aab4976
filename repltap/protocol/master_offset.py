"""Asking a master how far its stream is: AUTH, then `INFO replication` again and again.

INFO names the history beside the offset, and a master that is a replica itself answers as well;
ROLE does neither. No key is touched. Replies are bounded; no server text leaves this module before
what could be a secret is cut out of it (`handshake.Replies`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from repltap.errors import RemoteProtocolError
from repltap.position import MAX_OFFSET, Offset, ReplId, parse_replid
from repltap.protocol.handshake import Replies, UpstreamSettings
from repltap.protocol.resp import encode_command

MAX_REPLY_BYTES = 1 << 20
"""A line of some 90 bytes for each replica: ten thousand of them."""

_MAX_LINE_BYTES = 1024
_REPLID = re.compile(rb"^master_replid:([0-9a-f]{40})\r?$", re.MULTILINE)
_OFFSET = re.compile(rb"^master_repl_offset:([0-9]{1,19})\r?$", re.MULTILINE)

_REPLICA = re.compile(rb"^role:slave\r?$", re.MULTILINE)

_ASK = encode_command(b"INFO", b"replication")
_NOT_ALLOWED = (b"-NOPERM", b"-NOAUTH", b"-WRONGPASS", b"-ERR unknown command")


@dataclass(frozen=True, slots=True)
class MasterOffset:
    """What the master has: its history and the end of its stream; or a replica, as its own."""

    replid: ReplId
    offset: Offset
    is_master: bool = True


@dataclass(frozen=True, slots=True)
class Unanswered:
    """It did not say.

    Attributes:
        message: Its words, for an operator.
        lasting: Asking again won't help before somebody changes something.
    """

    message: str
    lasting: bool


class MasterOffsetQuery:
    """One connection's questions and answers. Asks one at a time.

    Args:
        settings: How to authenticate.
    """

    def __init__(self, settings: UpstreamSettings) -> None:
        self._replies = Replies(settings)
        self._buffer = bytearray()
        self._out = b""
        self._auth_awaited = settings.password is not None
        if settings.password is not None:
            user = () if settings.username is None else (settings.username.encode(),)
            self._out = encode_command(b"AUTH", *user, settings.password.encode())

    def ask(self) -> bytes:
        """Give what is to be sent for one answer."""
        out, self._out = self._out + _ASK, b""
        return out

    def receive_data(self, data: bytes) -> MasterOffset | Unanswered | None:
        """Take what came.

        Returns:
            The answer to the last question, None while it is not whole.

        Raises:
            RemoteProtocolError: It is no answer, or too long a one.
        """
        self._buffer += data
        while True:
            if b"\r\n" not in self._buffer[:_MAX_LINE_BYTES]:
                if len(self._buffer) >= _MAX_LINE_BYTES:
                    raise RemoteProtocolError("the master answered with an endless line")
                return None
            line, _, rest = bytes(self._buffer).partition(b"\r\n")
            if not self._auth_awaited:
                return self._answer(line, rest)
            self._auth_awaited = False
            self._buffer = bytearray(rest)
            if (failed := self._replies.auth(line)) is not None:
                return Unanswered(failed.message, lasting=True)

    def _answer(self, line: bytes, rest: bytes) -> MasterOffset | Unanswered | None:
        if line.startswith(b"-"):
            self._buffer = bytearray(rest)
            said = self._replies.text(line[1:])
            lasting = line.startswith(_NOT_ALLOWED)
            hint = " (the user needs +info)" if line.startswith(b"-NOPERM") else ""
            return Unanswered(f"the master refused INFO{hint}: {said}", lasting)
        if not line.startswith(b"$") or not line[1:].isdigit() or len(line) > 12:
            raise RemoteProtocolError("the master answered INFO with something else")
        size = int(line[1:])
        if size > MAX_REPLY_BYTES:
            raise RemoteProtocolError(f"the master answered INFO with {size} bytes")
        if len(rest) < size + 2:
            return None
        self._buffer = bytearray(rest[size + 2 :])
        return _read(rest[:size])


def _read(text: bytes) -> MasterOffset | Unanswered:
    replid, offset = _REPLID.search(text), _OFFSET.search(text)
    if replid is None or offset is None or int(offset[1]) > MAX_OFFSET:
        return Unanswered("the master's INFO names no offset", lasting=True)
    is_master = _REPLICA.search(text) is None
    return MasterOffset(parse_replid(replid[1]), Offset(int(offset[1])), is_master)
