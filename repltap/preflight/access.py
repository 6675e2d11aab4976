"""Who will be let in: what the configuration of the port and of HTTP comes to."""

from __future__ import annotations

from repltap.access import ALL_RIGHTS, Right, User
from repltap.config import Config, HttpConfig, ListenConfig
from repltap.preflight.finding import Finding, Level
from repltap.values import is_loopback


def check_access(config: Config) -> list[Finding]:
    """Say who may log in, and whether that is nobody or everybody."""
    found = [_port(config.listen)]
    if config.http is not None:
        found.append(_http(config.http))
    return found


def _port(listen: ListenConfig) -> Finding:
    check, users = "access", listen.users
    if users.required:
        shown = ", ".join(map(_user, users.all))
        if not any(Right.REPLICATE in user.rights for user in users.all):
            advice = 'a user with rights = ["replicate"], or listen.password_file'
            return Finding(check, Level.WARN, f"{shown}: no replica can follow the relay", advice)
        return Finding(check, Level.OK, shown)
    hosts = dict.fromkeys(where.host for where in listen.endpoints)
    open_to = " and ".join(host for host in hosts if not is_loopback(host))
    if not open_to:
        return Finding(check, Level.OK, "nobody has to log in; this machine alone reaches the port")
    advice = "listen.password_file, or users (docs/access.md)"
    if listen.protected_mode:
        text = f"nobody has to log in, so others than this machine are refused at {open_to}"
        return Finding(check, Level.WARN, text, advice)
    text = f"whoever reaches {open_to} can read all data and command the relay"
    return Finding(check, Level.WARN, text, advice)


def _http(http: HttpConfig) -> Finding:
    check = "http-access"
    if http.tokens:
        return Finding(check, Level.OK, "a token is asked for")
    if is_loopback(http.host):
        return Finding(check, Level.OK, "no token; this machine alone reaches it")
    text = f"whoever reaches {http.host} sees addresses, offsets and names of sinks"
    return Finding(check, Level.WARN, text, "http.token_file, where that matters")


def _user(user: User) -> str:
    rights = "all" if user.rights == ALL_RIGHTS else " ".join(sorted(r.value for r in user.rights))
    return f"{user.name} ({rights})"
