"""Asking the sentinels of the configuration who the master is, once, before a relay is started."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import closing
from dataclasses import replace

from repltap.addresses import host_port
from repltap.config import SentinelConfig, UpstreamConfig
from repltap.errors import RemoteProtocolError, UpstreamError
from repltap.preflight.finding import Finding, Level
from repltap.protocol.sentinel import Address, MasterTold, SentinelProtocol
from repltap.protocol.sentinel_view import SentinelView
from repltap.reasons import os_reason
from repltap.sentinel_url import MAX_SENTINELS
from repltap.tls import ClientTls

_CHECK = "sentinel"
_ANSWER_SECONDS = 3.0
_READ_BYTES = 1 << 16
_ACL = (
    "ACL SETUSER {user} +hello +subscribe +sentinel|myid +sentinel|get-master-addr-by-name "
    "+sentinel|master +sentinel|sentinels &+switch-master &+sentinel"
)


def find_master(config: UpstreamConfig) -> tuple[list[Finding], UpstreamConfig | None]:
    """Ask all sentinels, those too that the first ones tell of.

    Args:
        config: With sentinels.

    Returns:
        What was found, and the configuration with the master that they name; None for none.
    """
    assert config.sentinel is not None
    survey = _Survey(config.sentinel)
    survey.run()
    choice = survey.view.choose(0.0)
    findings = survey.findings
    if choice is None:
        advice = f"is {config.sentinel.master_name!r} what they call it? Are they up?"
        findings.append(Finding(_CHECK, Level.FAIL, "no sentinel names a master", advice))
        return findings, None
    if len(survey.named) > 1:
        each = ", ".join(host_port(*one) for one in sorted(survey.named))
        advice = "during a failover that is so for a moment; else look at those that are behind"
        findings.append(Finding(_CHECK, Level.WARN, f"they name different masters: {each}", advice))
    host, port = choice.master
    return findings, replace(config, host=host, port=port)


def with_master(config: UpstreamConfig) -> UpstreamConfig:
    """Give the configuration with the master that the sentinels name, if they have to be asked.

    Raises:
        UpstreamError: None of them names one.
    """
    if config.sentinel is None:
        return config
    findings, found = find_master(config)
    if found is None:
        said = "; ".join(each.found for each in findings)
        raise UpstreamError(said, hint="repltap check says more")
    return found


class _Survey:
    def __init__(self, config: SentinelConfig) -> None:
        self._config = config
        self.view = SentinelView()
        self.findings: list[Finding] = []
        self.named: set[Address] = set()

    def run(self) -> None:
        ids: set[str] = set()
        todo = [(address, "") for address in self._config.addresses]
        done: set[Address] = set()
        while todo and len(done) < MAX_SENTINELS:
            address, sentinel_id = todo.pop(0)
            if address in done or (sentinel_id and sentinel_id in ids):
                continue
            done.add(address)
            told = self._look(address)
            if told is not None:
                ids.add(told.sentinel_id)
                todo += [(other.address, other.sentinel_id) for other in told.others]

    def _look(self, address: Address) -> MasterTold | None:
        host, port = address
        name = host_port(host, port)
        try:
            told, listening = _ask(address, self._config)
        except (OSError, UnicodeError) as failure:
            self._away(name, host, failure)
            return None
        except RemoteProtocolError as failure:
            self._add(Level.FAIL, f"{name}: {failure}")
            return None
        self.view.heard(address, told)
        if told.master is None:
            self._add(Level.FAIL, f"{name} watches no master {self._config.master_name!r}")
            return told
        self.named.add(told.master)
        found = f"{name} names {host_port(*told.master)}"
        acl = _ACL.format(user=self._config.username or "default")
        if told.epoch is None:
            self._add(Level.WARN, f"{found}, and does not tell the epoch: SENTINEL MASTER", acl)
        elif not listening:
            self._add(Level.WARN, f"{found}, and lets us not listen: SUBSCRIBE", acl)
        else:
            self._add(Level.OK, f"{found}, epoch {told.epoch}")
        return told

    def _away(self, name: str, host: str, failure: OSError | UnicodeError) -> None:
        tls = self._config.tls
        advice = "is it up?" if tls is None else "is it up, and is this its tls-port?"
        if isinstance(failure, TimeoutError):
            self._add(Level.WARN, f"{name}: no answer", advice)
        elif tls is not None and isinstance(failure, ssl.SSLError):
            fault = tls.fault(failure, "the sentinel", host)
            self._add(Level.FAIL, f"{name}: {fault.message}", fault.hint)
        elif isinstance(failure, OSError):
            self._add(Level.WARN, f"{name}: {os_reason(failure)}", advice)
        else:
            self._add(Level.WARN, f"{name}: not a host name")

    def _add(self, level: Level, found: str, advice: str = "") -> None:
        self.findings.append(Finding(_CHECK, level, found, advice))


def _ask(address: Address, config: SentinelConfig) -> tuple[MasterTold, bool]:
    """Ask one, and say whether it lets us listen.

    Raises:
        OSError, UnicodeError: It can't be reached, or does not answer in time.
        RemoteProtocolError: It refuses, or is no sentinel.
    """
    protocol = SentinelProtocol(config.master_name, config.username, config.password)
    protocol.ask()
    deadline = time.monotonic() + _ANSWER_SECONDS
    with closing(_connect(address, config.tls)) as sock:
        sock.sendall(protocol.data_to_send())
        while True:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            data = sock.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("it closed the connection")
            protocol.receive_data(data)
            for event in protocol.events_received():
                if isinstance(event, MasterTold):
                    return event, protocol.listening is True


def _connect(address: Address, tls: ClientTls | None) -> socket.socket:
    sock = socket.create_connection(address, timeout=_ANSWER_SECONDS)
    if tls is None:
        return sock
    # It closes its own socket when the handshake fails.
    return tls.context.wrap_socket(sock, server_hostname=tls.name(address[0]))
