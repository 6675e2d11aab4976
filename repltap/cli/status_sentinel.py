"""The sentinels in `repltap status`, and whom the relay was configured to follow."""

from __future__ import annotations

from repltap.cli.human import NOTHING, human_age
from repltap.cli.sections import Cell, Section
from repltap.status.link import UpstreamStatus
from repltap.status.sentinel import SentinelSeen, SentinelState, SentinelStatus

_TONES = {SentinelState.ANSWERING: "good", SentinelState.AWAY: "bad"}


def master_rows(upstream: UpstreamStatus, now: float) -> list[tuple[str, str | Cell]]:
    """Say who the master is, and who says so."""
    address = upstream.address or "not known yet"
    rows: list[tuple[str, str | Cell]] = [("master", address)]
    if upstream.configured:
        kept = "kept over a restart" if upstream.kept else "until the next start"
        text = f"{upstream.configured}; another is followed by REPLICAOF, {kept}"
        rows.append(("configured", Cell(text, "warn")))
    if (named := upstream.sentinel) is not None:
        rows.append(("named by", _named_by(named, now)))
    return rows


def _named_by(named: SentinelStatus, now: float) -> Cell:
    count = len(named.sentinels)
    text = f"Sentinel, {named.master_name!r}: {named.answering} of {count} answer"
    since = named.followed_since
    if named.last_known and since is not None:
        age = human_age(now - since)
        text += f"; sentinels away, following the last known master since {age}"
    elif since is not None:
        text += f", since {human_age(now - since)}"
    if named.switches:
        text += f", {named.switches} switch{'' if named.switches == 1 else 'es'}"
    if named.objection and named.last_known and not named.answering:
        text += f"; {named.last_known}, the last known master, is not followed: {named.objection}"
    elif named.objection:
        text += f"; they name another, not followed yet: {named.objection}"
    bad = not named.answering or bool(named.objection)
    return Cell(text, "bad" if bad else "")


def sentinels(named: SentinelStatus, now: float) -> Section:
    """Show what each sentinel says."""
    return Section(
        f"Sentinels ({len(named.sentinels)})",
        ("sentinel", "state", "master", "epoch", "told", "listening"),
        tuple(_sentinel(each, now) for each in named.sentinels),
        frozenset((3, 4)),
        folded=frozenset((0, 1)),
        spare=(5, 4),
    )


def _sentinel(seen: SentinelSeen, now: float) -> tuple[Cell, ...]:
    state = seen.state.value + (f": {seen.error}" if seen.error else "")
    told = NOTHING if seen.told_at is None else f"{human_age(now - seen.told_at)} ago"
    return (
        Cell(seen.address),
        Cell(state, _TONES.get(seen.state, "warn")),
        Cell(seen.master or NOTHING),
        Cell(NOTHING if seen.epoch is None else str(seen.epoch)),
        Cell(told),
        Cell("yes" if seen.listening else "no"),
    )
