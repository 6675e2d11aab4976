"""Who may connect at all: how many at once, and from where as long as nobody has to log in.

Protected mode is Redis's (`clientAcceptHandler`, `connSocketIsLocal`): a server that anybody may
command is most likely one that somebody forgot to close.
"""

from __future__ import annotations

import logging
import socket

from repltap.config import ListenConfig
from repltap.values import is_loopback

log = logging.getLogger("repltap.downstream")

_TOO_MANY = b"-ERR max number of clients reached\r\n"
_DENIED = (
    b"-DENIED repltap is in protected mode: nobody has to log in, so that only clients on its own "
    b"machine are served. Give it a password (REPLTAP_LISTEN_PASSWORD, --listen-password-file) or "
    b"users; or set listen.protected_mode to no, if the network lets only those through who may "
    b"read and command everything.\r\n"
)
_REMIND_SECONDS = 60.0
"""Who is turned away comes back each second; the log hears of it this often."""


class Admission:
    """Decides about a connection before a byte of it is read.

    Args:
        config: Protected mode, and the limit on connections.

    Attributes:
        max_clients: The limit, which what the system allows may lower.
        rejected: How many were turned away.
    """

    def __init__(self, config: ListenConfig) -> None:
        self._protected = config.protected_mode
        self._hosts = [where.host for where in config.endpoints]
        self.max_clients = config.max_clients
        self.rejected = 0
        self._denied = 0  # since the log last heard of it
        self._logged_at = float("-inf")

    def admits(self, sock: socket.socket, present: int, *, closed: bool, now: float) -> bool:
        """Take a connection, or tell it why not; closing it is the caller's.

        Args:
            sock: Just accepted.
            present: Connections that are there.
            closed: Who connects has to log in.
            now: Seconds on a clock that never goes back.
        """
        if present >= self.max_clients:
            self._turn_away(sock, _TOO_MANY)
            return False
        if self._protected and not closed and not is_local(sock):
            self._turn_away(sock, _DENIED)
            self._tell(sock, now)
            return False
        return True

    def warn(self, *, closed: bool) -> None:
        """Say at the start what protected mode, or its absence, means for this address."""
        open_to = [host for host in self._hosts if not is_loopback(host)]
        if closed or not open_to:
            return
        if self._protected:
            log.warning(
                "nobody has to log in: in protected mode only clients on this machine are served, "
                "although %s is listened on. A password (--listen-password-file) or users let "
                "others in",
                " and ".join(open_to),
            )
        else:
            log.warning(
                "nobody has to log in and protected mode is off: whoever reaches %s can read all "
                "data and command this relay",
                " and ".join(open_to),
            )

    def _turn_away(self, sock: socket.socket, line: bytes) -> None:
        self.rejected += 1
        try:
            sock.send(line)
        except OSError:
            pass  # it is being turned away; whether it hears why is its own matter

    def _tell(self, sock: socket.socket, now: float) -> None:
        self._denied += 1
        if now - self._logged_at < _REMIND_SECONDS:
            return
        log.warning(
            "refused %s: nobody has to log in, and protected mode serves this machine only "
            "(%d refused since the last such line)",
            _host(sock),
            self._denied,
        )
        self._logged_at, self._denied = now, 0


def is_local(sock: socket.socket) -> bool:
    """Tell whether the peer is on this machine, as far as its address says."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return True  # a unix socket: the rights of its file decide
    host = _host(sock).removeprefix("::ffff:")
    return host == "::1" or host.startswith("127.")


def _host(sock: socket.socket) -> str:
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return ""  # gone already
