"""The one error tree. A class exists only where a caller or an operator would act differently.

    ReplTapError
    ├── ConfigError             the configuration is wrong; fix it and start again (exit 2)
    ├── ListenError             an address can't be listened on (exit 3)
    ├── StoreError              the data directory; carries `path`
    │   ├── DataDirError            it can't be used: not writable, not a directory (exit 4)
    │   ├── DataDirInUseError       another repltap holds its lock (exit 4)
    │   ├── CorruptStoreError       damaged in the middle; nothing was changed (exit 5)
    │   ├── DiskFullError           no room: what is stored stays, reading stops until there is
    │   ├── OpenFilesError          the limit of open files is reached; passes, so it is retried
    │   └── NotRetainedError        the journal does not hold that offset (any more, or yet)
    ├── ProtocolError
    │   ├── RemoteProtocolError     the peer broke the protocol; its connection is closed
    │   └── LocalProtocolError      we did: a bug in repltap
    ├── RdbError                an RDB file; carries `offset` and `key`
    │   ├── CorruptRdbError         it is cut off or damaged (exit 5)
    │   └── UnsupportedRdbError     it holds, or a target needs, what repltap does not know
    ├── UpstreamError           the link to the master failed; retried with backoff
    ├── SinkError               a sink's target failed or refused; carries `kind`
    └── StatusUnavailableError  a running relay could not be asked for its status (exit 6)

Every error is one line for the operator: what happened, to which peer or file; `hint` says what
can be done.
"""

from __future__ import annotations

import enum
from pathlib import Path

from repltap.endings import FailureReason


class ReplTapError(Exception):
    """Root of the tree.

    Args:
        message: One line: what happened, and to what.
        hint: What the operator can do, if anything.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(ReplTapError):
    """A configuration value is missing or wrong."""

    exit_code = 2


class ListenError(ReplTapError):
    """An address can't be listened on."""

    exit_code = 3


class StoreError(ReplTapError):
    """Something about the data directory.

    Args:
        message: One line: what happened.
        path: The file or directory it happened to.
        hint: What the operator can do.
    """

    exit_code = 4

    def __init__(self, message: str, *, path: Path, hint: str = "") -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path = path


class DataDirError(StoreError):
    """The data directory can't be used at all."""


class DataDirInUseError(StoreError):
    """Another process holds the data directory's lock."""


class CorruptStoreError(StoreError):
    """A stored file is damaged where a torn tail can't explain it."""

    exit_code = 5


class DiskFullError(StoreError):
    """The disk, or the quota, has no room for what came in."""


class OpenFilesError(StoreError):
    """No more files can be opened just now: the process's limit, or the system's."""


class NotRetainedError(StoreError):
    """The journal does not hold the offset that was asked for."""


class ProtocolError(ReplTapError):
    """Bytes or calls that the replication protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol."""


class LocalProtocolError(ProtocolError):
    """We broke the protocol: a bug in repltap."""


class RdbError(ReplTapError):
    """An RDB can't be read, or not be written in another form.

    Args:
        message: One line: what is wrong.
        offset: The byte of the RDB at which it was noticed.
        key: The key whose value it is in, if any.
        hint: What the operator can do.
    """

    def __init__(
        self, message: str, *, offset: int, key: bytes | None = None, hint: str = ""
    ) -> None:
        of_key = "" if key is None else f" of key {key!r}"
        super().__init__(f"at byte {offset}{of_key}: {message}", hint=hint)
        self.offset = offset
        self.key = key

    def add_file(self, name: str) -> None:
        """Say which file it is about: the reader sees bytes alone."""
        self.message = f"{name}: {self.message}"


class CorruptRdbError(RdbError):
    """The bytes are not those of an RDB, or end too early."""

    exit_code = 5


class UnsupportedRdbError(RdbError):
    """It is no damage, but something that this version can't read or write."""


class UpstreamError(ReplTapError):
    """The link to the master failed.

    Args:
        message: One line: what happened.
        hint: What the operator can do.
        reason: What it is counted as.
    """

    def __init__(
        self, message: str, *, hint: str = "", reason: FailureReason = FailureReason.OTHER
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class SinkErrorKind(enum.Enum):
    """What kind of failure a sink met; it is counted by this."""

    AWAY = "away"  # the target can't be reached, or is starting
    FULL = "full"  # it has no room
    REFUSED = "refused"  # it does not let us: authentication, permissions
    UNSUPPORTED = "unsupported"  # it does not know what it was given
    SOURCE = "source"  # what is stored can't be read
    OTHER = "other"
    CRASH = "crash"  # the sink's process ended by itself


class SinkError(ReplTapError):
    """A sink can't deliver; it stops where it is, and nothing is skipped.

    Args:
        message: One line: what happened, to which target.
        hint: What the operator can do.
        kind: What it is counted as.
        passes: Trying again may help without anybody doing anything; else it is tried again only
            now and then, and the status says that somebody is needed.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        kind: SinkErrorKind = SinkErrorKind.OTHER,
        passes: bool = True,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.passes = passes


class StatusUnavailableError(ReplTapError):
    """A running relay could not be asked for its status."""

    exit_code = 6
