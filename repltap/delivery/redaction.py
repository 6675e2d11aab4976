"""What a sink is not to see of the values: hashed, cut or removed; and a limit of their size.

Every argument that is no key counts as a value: of a command that nobody knows all are. So nothing
passes because it was not thought of, and options such as PXAT go with the values.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from repltap.sink import Record

_DIGEST_BYTES = 16
MAX_SECRET_BYTES = 64  # what BLAKE2b takes for a key


class Action(enum.Enum):
    """What is done with a value."""

    HASH = "hash"
    CUT = "cut"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is redacted, and how.

    Attributes:
        action: HASH leaves `hash:` and 32 hexadecimal digits, the same for the same value. CUT
            leaves the beginning. REMOVE leaves the keys only.
        secret: Keys the hash, at most 64 bytes. Without one, who can guess a value can check it.
        keep_bytes: What CUT leaves of a value.
        hash_keys: Keys are hashed, too, whatever is done with values.
        applies: Tells which records are redacted, None for all.
    """

    action: Action
    secret: bytes = b""
    keep_bytes: int = 0
    hash_keys: bool = False
    applies: Callable[[Record], bool] | None = None

    def __call__(self, record: Record) -> Record:
        """Redact a record; one without anything to redact stays as it is."""
        if self.applies is not None and not self.applies(record):
            return record
        keys = frozenset(record.key_positions)
        words = [record.words[0]]
        positions = []
        for at, word in enumerate(record.words[1:], 1):
            if at in keys:
                positions.append(len(words))
                words.append(self.hashed(word) if self.hash_keys else word)
            elif self.action is Action.HASH:
                words.append(self.hashed(word))
            elif self.action is Action.CUT:
                words.append(cut(word, self.keep_bytes))
        if words == record.words:
            return record
        return record._replace(words=words, key_positions=tuple(positions), redacted=True)

    def hashed(self, word: bytes) -> bytes:
        """Give what HASH leaves of a value."""
        hasher = self.hasher()
        hasher.update(word)
        return hasher.text()

    def hasher(self) -> Hasher:
        """Begin the hash of a value that comes in parts."""
        return Hasher(self.secret)


class Hasher:
    """Makes the hash of one value.

    Args:
        secret: Keys it, b"" for none.
    """

    def __init__(self, secret: bytes) -> None:
        self._digest = blake2b(digest_size=_DIGEST_BYTES, key=secret)

    def update(self, part: bytes) -> None:
        """Take the next part."""
        self._digest.update(part)

    def text(self) -> bytes:
        """Give `hash:` and 32 hexadecimal digits."""
        return b"hash:" + self._digest.hexdigest().encode("ascii")


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """Cuts values that are too large for a sink; keys are never cut.

    Attributes:
        value_bytes: What one value may have.
    """

    value_bytes: int

    def __call__(self, record: Record) -> Record:
        """Cut what is too large; `size` then says what the arguments had."""
        limit = self.value_bytes
        if all(len(word) <= limit for word in record.words):
            return record
        keys = frozenset(record.key_positions)
        words = [
            word if at in keys or at == 0 else cut(word, limit)
            for at, word in enumerate(record.words)
        ]
        if words == record.words:
            return record
        return record._replace(words=words, size=sum(map(len, record.words[1:])))


def cut(value: bytes, size: int) -> bytes:
    """Give the beginning of a value, without a part of a UTF-8 character at its end.

    A text that is cut stays a text: else its whole record would be written as base64.
    """
    if len(value) <= size:
        return value
    end = size
    while end > 0 and size - end < 3 and value[end] & 0xC0 == 0x80:
        end -= 1
    # More than three in a row are no UTF-8 anyway.
    return value[: size if value[end] & 0xC0 == 0x80 else end]
