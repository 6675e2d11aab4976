"""Who may do what on the port: users, their passwords, and the three rights.

Passwords are kept as SHA-256 digests, as Redis keeps them (`ACLHashPassword`): a core dump or a
debugger shows none. They are compared in constant time, all of a user's at each login.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

DEFAULT_USER = "default"
"""Whom AUTH with a password alone means; Redis's name for it."""


class Right(Enum):
    """What a user may be allowed; the values are what the configuration calls it."""

    REPLICATE = "replicate"  # all data: PSYNC, SYNC, REPLCONF
    STATUS = "status"  # what the relay knows about itself: INFO, ROLE, CLIENT LIST, CONFIG GET
    ADMINISTER = "administer"  # REPLICAOF, SHUTDOWN, CLIENT KILL, and all that has no other right


ALL_RIGHTS = frozenset(Right)


def digest(password: str) -> bytes:
    """Turn a password into what is kept of it."""
    return hashlib.sha256(password.encode()).digest()


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in.

    Attributes:
        name: As AUTH gives it.
        rights: What it may do.
        digests: Of its passwords, any of which will do.
    """

    name: str
    rights: frozenset[Right]
    digests: tuple[bytes, ...] = field(repr=False)


_NOBODYS = (hashlib.sha256(b"").digest(),)


@dataclass(frozen=True, slots=True)
class Users:
    """Everybody who may log in; nobody: then everybody may do everything.

    Attributes:
        all: By name.
    """

    all: tuple[User, ...] = ()

    @classmethod
    def of_default(cls, *passwords: str) -> Users:
        """Make the table of Redis's `requirepass`: one user, who may do everything."""
        return cls.of(passwords, ())

    @classmethod
    def of(cls, passwords: Iterable[str], named: Iterable[User]) -> Users:
        """Make the table of the default user, if it has passwords, and of these."""
        digests = tuple(digest(password) for password in passwords)
        default = (User(DEFAULT_USER, ALL_RIGHTS, digests),) if digests else ()
        return cls((*default, *named))

    @property
    def required(self) -> bool:
        """Who connects has to log in."""
        return bool(self.all)

    def find(self, name: str) -> User | None:
        """Give the user of this name."""
        return next((user for user in self.all if user.name == name), None)

    def check(self, name: bytes, password: bytes) -> bool:
        """Tell whether this is a user's password; takes as long when there is no such user."""
        user = self.find(name.decode("utf-8", "replace"))
        given = hashlib.sha256(password).digest()
        kept = user.digests if user is not None else _NOBODYS
        same = [hmac.compare_digest(given, each) for each in kept]
        return user is not None and any(same)

    def may(self, name: str, right: Right) -> bool:
        """Tell whether a user has a right; where nobody has to log in, everybody has all."""
        user = self.find(name)
        return right in user.rights if user is not None else not self.required


NOBODY = Users()
"""Nobody has to log in."""
