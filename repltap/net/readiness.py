"""Whether a relay is ready, by what its operator calls so; looks at a status and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from repltap.status.link import LinkState
from repltap.status.relay import RelayStatus
from repltap.values import Readiness


@dataclass(frozen=True, slots=True)
class Unready:
    """One condition that is not met.

    Attributes:
        condition: As in the configuration, without its limit.
        text: A sentence for people.
    """

    condition: str
    text: str


def unready(status: RelayStatus, wanted: Readiness) -> tuple[Unready, ...]:
    """Say why a relay is not ready; nothing when it is."""
    return tuple(_reasons(status, wanted))


def _reasons(status: RelayStatus, wanted: Readiness) -> Iterator[Unready]:
    upstream = status.upstream
    linked = upstream.state is LinkState.CONNECTED
    stored = bool(status.journal and status.journal.snapshots)
    if wanted.serve and not (stored or linked):
        text = "no snapshot is stored, and none can be fetched: the link to the master is in state"
        yield Unready("serve", f"{text} {upstream.state.value}")
    if wanted.snapshot and not stored:
        yield Unready("snapshot", "no snapshot is stored")
    if wanted.link and not linked:
        why = f": {upstream.last_error}" if upstream.last_error else ""
        yield Unready("link", f"the link to the master is in state {upstream.state.value}{why}")
    if wanted.max_lag_seconds is not None:
        yield from _late(status, wanted.max_lag_seconds)


def _late(status: RelayStatus, limit: float) -> Iterator[Unready]:
    upstream = status.upstream
    if upstream.state is LinkState.CONNECTED and upstream.lag_seconds is not None:
        if upstream.lag_seconds > limit:
            text = f"{upstream.lag_seconds:.1f} s behind the master, more than {limit:g} s"
            yield Unready("lag", text)
        return
    # The master can't be asked. It is never silent for longer than repl-ping-replica-period,
    # 10 s unless told.
    if upstream.last_io_at is None:
        yield Unready("lag", "nothing has come from the master yet")
    elif (silent := status.now - upstream.last_io_at) > limit:
        text = f"nothing has come from the master for {silent:.0f} s, more than {limit:g} s"
        yield Unready("lag", text)
