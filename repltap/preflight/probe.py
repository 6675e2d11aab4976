"""Asking a master: may we follow it, and what does it say of itself. Nothing is changed there.

No full sync is started. ACL DRYRUN says whether PSYNC is allowed; where that itself is not, or is
not known, `PSYNC <no replid> 1 FAILOVER` does: a server refuses that with an error of its own after
it has looked at the ACL and before it does anything else (Redis and Valkey `syncCommand`, from
6.2 on). It leaves one line in the master's log. Older servers would begin a full sync, so they are
not asked.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

import hiredis

from repltap.addresses import host_port
from repltap.client import Connection
from repltap.config import UpstreamConfig
from repltap.preflight.facts import CONFIG_GET, INFO, SETTINGS, Facts, Rate, parse_version
from repltap.preflight.finding import Finding, Level
from repltap.protocol.handshake import Replies, UpstreamSettings
from repltap.reasons import os_reason

_NO_REPLID = "0" * 40
_FAILOVER_SINCE = (6, 2, 0)
_INFO_BYTES = len(b"*1\r\n$4\r\nINFO\r\n")

_LOGIN = (
    "give REPLTAP_UPSTREAM_PASSWORD or --upstream-password-file, and --upstream-username for a "
    "user other than the default one"
)
_ACL = "ACL SETUSER {user} +psync +replconf +info"
"""What `deploy/acl.md` says, without a password: pasted, it must not set one."""


class _ShutError(Exception):
    """Asking further makes no sense: the finding says why."""


class Probe:
    """One look at a master.

    Args:
        config: Where it is, and how to log in.
        sample_seconds: How long its writes are counted.
        sleep: Waits; another in tests.

    Attributes:
        findings: About reaching it, so far.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        sample_seconds: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._sample_seconds = sample_seconds
        self._sleep = sleep
        self._user = config.username or "default"
        self.findings: list[Finding] = []

    def run(self) -> Facts | None:
        """Ask everything.

        Returns:
            What it told, or None where it can't be asked; `findings` says why.
        """
        port = self._config.port
        address = host_port(self._config.host, port) if port else self._config.host  # a unix socket
        try:
            connection = Connection(
                self._config.host,
                self._config.port,
                timeout_seconds=self._config.connect_timeout_seconds,
                tls=self._config.tls,
            )
        except OSError as failure:
            self._unreachable(address, failure)
            return None
        except UnicodeError:
            self._add("reach", Level.FAIL, f"{address}: not a host name")
            return None
        try:
            self._greet(connection, address)
            return self._ask(connection)
        except _ShutError:
            return None
        except ssl.SSLError as failure:  # in TLS 1.3 our certificate is refused that late
            self._unreachable(address, failure)
            return None
        except OSError as failure:
            silent = isinstance(failure, TimeoutError)
            said = "it does not answer" if silent else os_reason(failure)
            advice = "is it a Redis or Valkey? If this is its tls-port, use rediss:// or --tls"
            self._add("reach", Level.FAIL, f"{address}: {said}", advice)
            return None
        finally:
            connection.close()

    def _unreachable(self, address: str, failure: OSError) -> None:
        tls = self._config.tls
        if tls is not None and isinstance(failure, TimeoutError):
            advice = "is it up, and is this its tls-port? A port without TLS says nothing"
            self._add("reach", Level.FAIL, f"{address}: no answer to the TLS handshake", advice)
        elif tls is not None and isinstance(failure, ssl.SSLError):
            fault = tls.fault(failure, "the master", self._config.host)
            self._add("reach", Level.FAIL, f"{address}: {fault.message}", fault.hint)
        else:
            unknown = isinstance(failure, socket.gaierror)
            advice = "is the name right?" if unknown else "is the master up?"
            self._add("reach", Level.FAIL, f"{address}: {os_reason(failure)}", advice)

    def _greet(self, connection: Connection, address: str) -> None:
        """Log in, and find out whether it answers.

        Raises:
            _ShutError: It does not let us in.
        """
        if self._config.password is not None:
            words = [word for word in (self._config.username, self._config.password) if word]
            said = _error(_one(connection, "AUTH", *words))
            if said and not said.startswith("DENIED"):
                self._add("reach", Level.OK, f"{address} answers")
                # Not as it stands: a master that does not know AUTH repeats its arguments.
                self._add("auth", Level.FAIL, self._refused_login(said), _LOGIN)
                raise _ShutError
        said = _error(_one(connection, "PING"))
        if said.startswith("DENIED"):
            advice = (
                "on the master's machine: CONFIG SET requirepass PASSWORD, or CONFIG SET "
                "protected-mode no"
            )
            self._add("reach", Level.FAIL, f"{address}: protected mode refuses us", advice)
            raise _ShutError
        self._add("reach", Level.OK, f"{address} answers")
        if said.startswith("NOAUTH"):
            self._add("auth", Level.FAIL, said, _LOGIN)
            raise _ShutError
        if said.startswith("NOPERM"):
            # The relay's own PING comes before the login, where the ACL is not asked.
            self._add("auth", Level.OK, f"user {self._user}; PING is not allowed, nor needed")
        elif said:
            self._add("auth", Level.WARN, f"it says: {said}", "it is tried again until that ends")
        else:
            self._add("auth", Level.OK, f"user {self._user}")

    def _refused_login(self, said: str) -> str:
        config = self._config
        settings = UpstreamSettings(
            listening_port=0,
            username=config.username,
            password=config.password,
            password_place=config.password_place,
        )
        refusal = Replies(settings).auth(b"-" + said.encode())
        return refusal.message if refusal is not None else ""

    def _ask(self, connection: Connection) -> Facts:
        server, version = _hello(_one(connection, "HELLO"))
        refused: dict[str, str] = {}
        info = _info(connection, refused)
        if version is None and info is not None:
            version = parse_version(info.get("valkey_version") or info.get("redis_version", ""))
            server = server or ("valkey" if "valkey_version" in info else "redis")
        self._permissions(connection, version)
        settings = _settings(connection, refused)
        rate = self._sample(connection) if info is not None else None
        return Facts(
            user=self._user,
            server=server,
            version=version,
            info=info,
            settings=settings,
            refused=refused,
            rate=rate,
        )

    def _permissions(self, connection: Connection, version: tuple[int, int, int] | None) -> None:
        said = _error(_one(connection, "REPLCONF", "capa", "psync2"))
        self._permission("replconf", said)
        refusal = self._psync_refusal(connection, version)
        if refusal is None:
            old = "it is older than 6.2, or says no version: asking would start a full sync"
            self._add("psync", Level.UNKNOWN, old)
        else:
            self._permission("psync", refusal)

    def _psync_refusal(
        self, connection: Connection, version: tuple[int, int, int] | None
    ) -> str | None:
        """Tell what PSYNC would be refused with, "" for nothing, None where that is not known."""
        dry = _one(connection, "ACL", "DRYRUN", self._user, "PSYNC", "?", "-1")
        if dry in (b"OK", "OK"):
            return ""
        said = _error(dry)
        if not said or "not found" in said:  # 'psync' not found: renamed, or disabled
            return said or (dry.decode("utf-8", "replace") if isinstance(dry, bytes) else str(dry))
        if version is None or version < _FAILOVER_SINCE:
            return None
        said = _error(_one(connection, "PSYNC", _NO_REPLID, "1", "FAILOVER"))
        return "" if "FAILOVER" in said or said.startswith(("NOMASTERLINK", "LOADING")) else said

    def _permission(self, command: str, said: str) -> None:
        name = command.upper()
        if not said:
            self._add(command, Level.OK, f"{name} is allowed")
        elif "unknown command" in said or "not found" in said:
            advice = f"take rename-command {name} out of the master's configuration"
            self._add(command, Level.FAIL, f"{name} is disabled or renamed: {said}", advice)
        else:
            self._add(command, Level.FAIL, said, _ACL.format(user=self._user))

    def _sample(self, connection: Connection) -> Rate | None:
        """Count what is written for a while."""
        before, started = _info(connection, {}), time.monotonic()
        self._sleep(self._sample_seconds)
        after = _info(connection, {})
        seconds = max(time.monotonic() - started, 0.001)
        if before is None or after is None:
            return None
        counted = before.get("repl_backlog_active") == "1"
        field = "master_repl_offset" if counted else "total_net_input_bytes"
        own = 0 if counted else _INFO_BYTES
        try:
            grown = int(after[field]) - int(before[field]) - own
        except (KeyError, ValueError):
            return None
        return Rate(max(0, grown) / seconds, counted)

    def _add(self, check: str, level: Level, found: str, advice: str = "") -> None:
        self.findings.append(Finding(check, level, found, advice))


def _one(connection: Connection, *words: str) -> object:
    return connection.pipeline([words])[0]


def _error(reply: object) -> str:
    return str(reply) if isinstance(reply, hiredis.ReplyError) else ""


def _hello(reply: object) -> tuple[str | None, tuple[int, int, int] | None]:
    """Read HELLO: it is answered whatever the ACL says (from 6.0 on)."""
    if not isinstance(reply, list):
        return None, None
    words = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in reply]
    pairs = zip(words[::2], words[1::2], strict=False)
    said = {key: value for key, value in pairs if isinstance(key, str)}
    server, version = said.get("server"), said.get("version")
    return (
        server if isinstance(server, str) else None,
        parse_version(version) if isinstance(version, str) else None,
    )


def _info(connection: Connection, refused: dict[str, str]) -> dict[str, str] | None:
    reply = _one(connection, "INFO")
    if not isinstance(reply, bytes):
        refused[INFO] = f"{reply}"
        return None
    lines = reply.decode("utf-8", "replace").split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _settings(connection: Connection, refused: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    replies = connection.pipeline([("CONFIG", "GET", name) for name in SETTINGS])
    for reply in replies:
        if said := _error(reply):
            refused[CONFIG_GET] = said
        elif isinstance(reply, list) and len(reply) == 2:
            name, value = reply
            if isinstance(name, bytes) and isinstance(value, bytes):
                found[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return found
