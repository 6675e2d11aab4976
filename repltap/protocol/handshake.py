"""The lines of a replica's handshake: what is asked, and what a master's answers mean.

Pure functions over single lines; `repltap.protocol.upstream` keeps the order. Reactions follow a
real replica's (`syncWithMaster`, `slaveTryPartialResynchronization`; fact sheet 1.2) with one
difference: a relay never falls back to SYNC, which has no offsets. It fails and says why.
No server text leaves this module before what could be a secret is cut out of it: a master that
does not know a command repeats its arguments, the first 128 bytes of each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from repltap.endings import FailureReason
from repltap.position import MAX_OFFSET, Offset, Position, ReplId, parse_replid
from repltap.protocol.events import FullResyncGranted, LinkFailed, ResumeGranted
from repltap.protocol.psync import MAX_TOLD_OFFSET
from repltap.protocol.resp import encode_command
from repltap.protocol.transfer import MARK_BYTES

RELAY_CAPABILITY = b"repltap"
"""Says that the replica is a relay, which stores any RDB whatever version it announces."""

MAX_LINE_BYTES = 1024
"""A real replica reads handshake lines into 256 bytes and the `$` line into 1024."""

ACL_HINT = "the user needs +psync +replconf, and +info to know the lag"

_MAX_TEXT = 200
_ECHO = re.compile(rb",?\s*with args beginning with.*", re.DOTALL | re.IGNORECASE)
_MIN_PREFIX_BYTES = 8
"""A part of a secret as long as this is cut out; shorter ones may be ordinary words."""

_ERROR_CODE = re.compile(rb"[A-Z]{2,16}(?= |$)")
_AUTH_SENTENCES = (
    "invalid username-password pair or user is disabled",
    "invalid username-password pair",
    "invalid password",
    "AUTH <password> called without any password configured for the default user",
    "Client sent AUTH, but no password is set",
    "wrong number of arguments for 'auth' command",
    "syntax error",
    "unknown command",
)
"""What Redis and Valkey say to AUTH after the error code (`authCommand`, `commandCheckExistence`).
Nothing else of an answer to AUTH is quoted: it may repeat the password in any form."""

_COUNT = re.compile(rb"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """How this replica presents itself to the master, and how long it waits.

    `timeout_seconds` is `repl-timeout`: silence outside a transfer. A master that feeds a socket
    from its child can be silent for longer than that, with no newlines, hence
    `transfer_timeout_seconds` (fact sheet 2.2). `password_place` says where the password was given,
    for who has to change it. `claim_granted` says that the first ACK may name
    the granted offset before the shell has said what may be acknowledged.
    """

    listening_port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_place: str = ""
    ip_address: str | None = None
    announce_version: str | None = None
    rdb_only: bool = False
    claim_granted: bool = True
    timeout_seconds: float = 60.0
    transfer_timeout_seconds: float = 180.0
    max_snapshot_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A command of the handshake and the name its answer is known by."""

    name: str
    command: bytes


@dataclass(frozen=True, slots=True)
class TransferHeader:
    """The `$` line before the RDB: its length or its end mark."""

    size_bytes: int | None
    mark: bytes | None


PING = encode_command(b"PING")


def configuration(settings: UpstreamSettings) -> list[Question]:
    """List what is sent between PING and PSYNC, in the order real replicas use (fact sheet 1.1)."""
    questions = []
    if settings.password is not None:
        secret = settings.password.encode()
        user = () if settings.username is None else (settings.username.encode(),)
        questions.append(Question("auth", encode_command(b"AUTH", *user, secret)))

    def ask(name: str, *args: bytes) -> None:
        questions.append(Question(name, encode_command(b"REPLCONF", *args)))

    ask("listening-port", b"listening-port", b"%d" % settings.listening_port)
    if settings.ip_address is not None:
        ask("ip-address", b"ip-address", settings.ip_address.encode())
    # Neither rdb-channel-repl nor dual-channel: they answer PSYNC with a second connection.
    # Every server takes an unknown capability with +OK; a relay above learns what asks it.
    ask("capa", b"capa", b"eof", b"capa", b"psync2", b"capa", RELAY_CAPABILITY)
    if settings.announce_version is not None:
        ask("version", b"version", settings.announce_version.encode())
    if settings.rdb_only:
        ask("rdb-only", b"rdb-only", b"1")
    return questions


class Replies:
    """Reads a master's answers.

    Args:
        settings: Whose password is kept out of every message.
    """

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._password = (settings.password or "").encode()
        secrets = (self._password, (settings.username or "").encode())
        self._long_secrets = [s for s in secrets if len(s) >= _MIN_PREFIX_BYTES]

    def text(self, line: bytes) -> str:
        """Quote a server's line for an operator: one line, bounded, without secrets.

        No echoed arguments, not the password, and no part of the line that the password or the
        user's name begins with.
        """
        line = _ECHO.sub(b"", line)
        for secret in self._long_secrets:
            line = _without_prefixes(line, secret)
        if self._password:
            line = line.replace(self._password, b"***")
        shown = line[:_MAX_TEXT].decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else " " for c in shown).strip()

    def not_redis(self, line: bytes, *, quoted: bool = True) -> LinkFailed:
        """Say that the peer does not speak the protocol at all."""
        if line[:1] in (b"\x15", b"\x16"):  # TLS record types alert and handshake
            text = "the server speaks TLS there: use rediss://, or its port without TLS"
        elif not quoted:
            text = "this is not a Redis or Valkey server: it answered AUTH with no status line"
        else:
            text = f"this is not a Redis or Valkey server; it said: {self.text(line)!r}"
        return LinkFailed(FailureReason.NOT_REDIS, text)

    def ping(self, line: bytes) -> LinkFailed | None:
        """Judge the answer to PING; None means go on (`syncWithMaster`)."""
        if line.startswith((b"+", b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted")):
            return None
        if not line.startswith(b"-"):
            return self.not_redis(line)
        return self._error(line, "PING")

    def auth(self, line: bytes) -> LinkFailed | None:
        """Judge the answer to AUTH; any error ends the link."""
        if line.startswith(b"+"):
            return None
        user = self._settings.username or "default"
        said = self._auth_text(line[1:])
        place = self._settings.password_place
        given = f" with the password of {place}" if place else ""
        return LinkFailed(FailureReason.AUTH, f"the master refused user {user!r}{given}: {said}")

    def _auth_text(self, line: bytes) -> str:
        """Quote no more of an answer to AUTH than its error code and what servers are known for."""
        code = _ERROR_CODE.match(line)
        rest = line[code.end() :] if code is not None else line
        known = [s for s in _AUTH_SENTENCES if rest.strip().startswith(s.encode())]
        said = known[0] if known else "something that is not shown, as it may repeat the password"
        if said == "unknown command":
            said = "unknown command (is AUTH renamed or disabled there?)"
        return f"{self.text(code[0])} {said}" if code is not None else said

    def capa(self, line: bytes) -> LinkFailed | None:
        """Judge the answer to `REPLCONF capa`; only a REPLCONF that can't be used ends the link.

        Without it the sync works but every ACK is refused: the master drops the link each
        repl-timeout, over and over (fact sheet 9), or at once for the error it has to answer.
        """
        if line.startswith(b"-NOPERM"):
            return self._error(line, "REPLCONF")
        if line.startswith(b"-ERR unknown command"):
            text = "the master does not know REPLCONF: is it renamed or disabled there?"
            return LinkFailed(FailureReason.REFUSED, text)
        return None

    def psync(self, line: bytes, resume: Position | None) -> _PsyncAnswer:
        """Judge the answer to PSYNC (`slaveTryPartialResynchronization`)."""
        words = line.split()
        if line.startswith(b"+FULLRESYNC"):
            return self._full_resync(line, words)
        if words and words[0] == b"+CONTINUE":
            return self._resume(line, words, resume)
        if line.startswith(b"-"):
            return self._error(line, "PSYNC")
        if not line.startswith(b"+"):
            return self.not_redis(line)
        text = f"the master answered PSYNC with something unknown: {self.text(line)!r}"
        return LinkFailed(FailureReason.PSYNC_UNSUPPORTED, text)

    def header(self, line: bytes) -> TransferHeader | LinkFailed:
        """Judge the line before the RDB (`readSyncBulkPayload`)."""
        if line.startswith(b"-"):
            text = f"the master aborted the sync: {self.text(line[1:])}"
            return LinkFailed(FailureReason.SYNC_ABORTED, text)
        if line.startswith(b"$EOF:") and len(line) == 5 + MARK_BYTES:
            return TransferHeader(None, line[5:])
        if line.startswith(b"$") and _COUNT.fullmatch(line[1:]) and int(line[1:]) <= MAX_OFFSET:
            return TransferHeader(int(line[1:]), None)
        return self._violation(f"no RDB header after FULLRESYNC: {self.text(line)!r}")

    def _full_resync(self, line: bytes, words: list[bytes]) -> FullResyncGranted | LinkFailed:
        # More words after the offset are allowed, as in a real replica. A malformed id is not: a
        # replica without downstreams may blank it and go on, a relay has to hand it out.
        try:
            replid, offset = parse_replid(words[1]), words[2]
        except (IndexError, ValueError):
            return self._violation(f"a malformed FULLRESYNC: {self.text(line)!r}")
        if not _COUNT.fullmatch(offset) or int(offset) > MAX_OFFSET or words[0] != b"+FULLRESYNC":
            return self._violation(f"a malformed FULLRESYNC: {self.text(line)!r}")
        if int(offset) > MAX_TOLD_OFFSET:
            return self._violation(f"a FULLRESYNC at an impossible offset, {int(offset)}")
        return FullResyncGranted(replid, Offset(int(offset)))

    def _resume(
        self, line: bytes, words: list[bytes], resume: Position | None
    ) -> ResumeGranted | LinkFailed:
        if resume is None:
            return self._violation("CONTINUE, though a full sync was asked for")
        replid: ReplId | None = None
        if len(words) > 1:
            try:
                replid = parse_replid(words[1])
            except ValueError:
                return self._violation(f"a malformed CONTINUE: {self.text(line)!r}")
        return ResumeGranted(replid, resume.offset)

    def _error(self, line: bytes, command: str) -> LinkFailed:
        said = self.text(line[1:])
        for prefix, reason, text in _ERRORS:
            if line.startswith(prefix):
                return LinkFailed(reason, text.format(command=command, said=said))
        if command == "PSYNC" and line.lower().startswith(b"-err unknown command"):
            text = f"the master knows no PSYNC (renamed or disabled there?): {said}"
            return LinkFailed(FailureReason.PSYNC_UNSUPPORTED, text)
        return LinkFailed(FailureReason.REFUSED, f"the master refused {command}: {said}")

    def _violation(self, what: str) -> LinkFailed:
        return LinkFailed(FailureReason.PROTOCOL, f"the master broke the protocol: {what}")


def _without_prefixes(line: bytes, secret: bytes) -> bytes:
    """Cut out whatever `secret` begins with, as far as it goes."""
    parts = []
    begin = 0
    while (at := line.find(secret[:_MIN_PREFIX_BYTES], begin)) >= 0:
        length = _MIN_PREFIX_BYTES
        while line[at : at + length + 1] == secret[: length + 1] and length < len(secret):
            length += 1
        parts += [line[begin:at], b"***"]
        begin = at + length
    return b"".join([*parts, line[begin:]])


_PsyncAnswer = FullResyncGranted | ResumeGranted | LinkFailed

_ERRORS = (
    (b"-LOADING", FailureReason.LOADING, "the master is loading its data set: {said}"),
    (b"-MASTERDOWN", FailureReason.MASTERDOWN, "the upstream lost its own master: {said}"),
    (b"-NOMASTERLINK", FailureReason.NO_MASTER_LINK, "the upstream can't sync now: {said}"),
    (b"-NOAUTH", FailureReason.AUTH, "the master asks for a password: {said}"),
    (
        b"-NOPERM",
        FailureReason.NOPERM,
        "the master's ACL forbids {command} (" + ACL_HINT + "): {said}",
    ),
)
