"""Why connections end, and why a resync is not partial: bounded lists of reasons.

The values are labels of metrics and keys of `/api/status`: they are never made up at run time, and
one that has been published keeps its name.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class DisconnectReason(enum.Enum):
    """Why a session on the port ended."""

    CLOSED = "closed"  # by the replica
    CONNECTION_LOST = "connection_lost"  # reset, host unreachable, keepalive unanswered
    ACK_TIMEOUT = "ack_timeout"
    LAG_BYTES = "lag_bytes"
    LAG_SECONDS = "lag_seconds"
    TRANSFER_STALLED = "transfer_stalled"  # took nothing of what it was sent
    SNAPSHOT_ONLY = "snapshot_only"  # it asked for the snapshot alone, and has it
    SNAPSHOT_ABORTED = "snapshot_aborted"  # the master broke off what it was being sent
    NEW_REPLID = "new_replid"  # the history goes on under another id
    NEW_HISTORY = "new_history"  # the master gave a full resync
    NOT_RETAINED = "not_retained"  # what it needs next is no longer held
    DAMAGED = "damaged"  # the journal or the snapshot, where it reads
    STORE_ERROR = "store_error"  # the disk failed, or no more files can be opened
    KILLED = "killed"  # by CLIENT KILL
    OUTPUT_LIMIT = "output_limit"  # a monitoring client that does not read
    MONITOR_FAILED = "monitor_failed"  # what a monitoring client was to be shown can't be
    PROTOCOL_ERROR = "protocol_error"
    SHUTDOWN = "shutdown"  # of repltap
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why one session ended; `detail` is a sentence for the operator, "" when `reason` says it."""

    reason: DisconnectReason
    detail: str = ""


PEER_CLOSED = Ending(DisconnectReason.CLOSED)


class DenialReason(enum.Enum):
    """Why a replica that asked for a partial resync was given a full one."""

    NO_HISTORY = "no_history"  # nothing is stored yet
    UNKNOWN_REPLID = "unknown_replid"
    PAST_REPLID = "past_replid"  # it went on under a replid that had ended
    NOT_RETAINED = "not_retained"  # its offset is older than the journal
    AHEAD = "ahead"  # it holds what this master never sent


class FailureReason(enum.Enum):
    """Why a link to the master ended, or did not come up.

    The first ones are what the protocol finds; the shell adds those of the socket and the disk.
    """

    AUTH = "auth"
    NOPERM = "noperm"
    LOADING = "loading"
    MASTERDOWN = "masterdown"
    NO_MASTER_LINK = "no_master_link"
    REFUSED = "refused"  # a command of the handshake
    NOT_REDIS = "not_redis"
    PSYNC_UNSUPPORTED = "psync_unsupported"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"
    CHECKSUM = "checksum"
    TIMEOUT = "timeout"
    EOF = "closed"  # by the master
    SYNC_ABORTED = "sync_aborted"

    CONNECT_FAILED = "connect_failed"
    TLS = "tls"  # its handshake, or a certificate
    CONNECTION_LOST = "connection_lost"
    DISK_FULL = "disk_full"
    OPEN_FILES = "open_files"
    REPOINTED = "repointed"
    RESYNC = "resync"  # closed by us, to ask for a full resync
    OTHER = "other"
