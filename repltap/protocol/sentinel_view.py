"""What several sentinels say of one master, and whom to believe.

The newest configuration epoch is right: each failover has one of its own, agreed on by a majority
of the sentinels (Redis `sentinelProcessHelloMessage` goes by it too). An older one than that of the
master that is followed comes from a sentinel that was cut off, and would lead back to a stale
master; it is believed only when more than half of all sentinels that are known say the same, as
after they have been set up anew, and go on saying so: right after a failover most of them have not
heard of it yet, and the one that led it may be lost just then.
"""

from __future__ import annotations

from dataclasses import dataclass

from repltap.protocol.sentinel import Address, MasterTold

OLDER_SECONDS = 10.0
"""How long a majority has to name an older epoch. Sentinels tell each other every 2 s (Redis
`SENTINEL_PUBLISH_PERIOD`)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The master to follow.

    Attributes:
        master: Where it is.
        epoch: Of the configuration that says so, -1 where no sentinel may be asked for it.
        told_by: Who says so, addresses.
    """

    master: Address
    epoch: int
    told_by: tuple[Address, ...]


class SentinelView:
    """The last answer of each sentinel that can be reached.

    Attributes:
        epoch: Of the master that is followed, -1 before there is one.
    """

    def __init__(self) -> None:
        self._told: dict[Address, MasterTold] = {}
        self.epoch = -1
        self._older: tuple[int, Address] | None = None  # what a majority says of an older epoch
        self._older_since = 0.0

    def heard(self, sentinel: Address, told: MasterTold) -> None:
        """Keep an answer."""
        self._told[sentinel] = told

    def lost(self, sentinel: Address) -> None:
        """It can't be reached: what it said last counts no more."""
        self._told.pop(sentinel, None)

    def followed(self, choice: Choice) -> None:
        """This master is followed now."""
        self.epoch = choice.epoch

    def answer_of(self, sentinel: Address) -> MasterTold | None:
        """Give what a sentinel has said last."""
        return self._told.get(sentinel)

    def choose(self, now: float) -> Choice | None:
        """Say whom to follow; None while no sentinel that is to be believed knows a master.

        Args:
            now: On a monotonic clock.
        """
        votes: dict[tuple[int, Address], dict[str, Address]] = {}
        for sentinel, told in self._told.items():
            if told.master is not None:
                epoch = -1 if told.epoch is None else told.epoch
                voters = votes.setdefault((epoch, told.master), {})
                # By its id: the same sentinel may be known by a name and by an address.
                voters[told.sentinel_id or f"{sentinel[0]}:{sentinel[1]}"] = sentinel
        best = max(votes, key=lambda key: (key[0], len(votes[key])), default=None)
        if best is None:
            self._older = None
            return None
        epoch, master = best
        voters = votes[best]
        if epoch >= self.epoch or 2 * len(voters) <= self._count():
            self._older = None
        elif self._older != best:
            self._older, self._older_since = best, now
        if epoch < self.epoch and (self._older is None or now - self._older_since < OLDER_SECONDS):
            return None
        return Choice(master, epoch, tuple(sorted(voters.values())))

    def _count(self) -> int:
        """Count the sentinels there are, as far as any of those that answer knows."""
        known: set[str] = set()
        for sentinel, told in self._told.items():
            known.add(told.sentinel_id or f"{sentinel[0]}:{sentinel[1]}")
            known.update(other.sentinel_id for other in told.others if other.sentinel_id)
        return len(known)
