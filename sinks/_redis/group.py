"""One transaction in the target: what was written since the last commit, and the checkpoint key.

    SELECT n  WATCH key  GET key  MULTI  ...  SELECT n  SET key  EXEC

EXEC is sent when all before it has been answered: each command was taken, and the checkpoint key
still is what this sink wrote last. WATCH makes EXEC fail where somebody changes it after that. So
two workers can't both apply a command, nor can one that goes on with a target whose data were lost
under it. A transaction that is not ended is dropped by closing the connection.
"""

from __future__ import annotations

from typing import NamedTuple

import hiredis

from repltap.sink import SinkError
from sinks._redis.connection import Connection, Reply, pack
from sinks._redis.faults import refused, shown

_SEND_BYTES = 64 << 10  # less waits for more, or for the commit
_QUEUED = b"QUEUED"
_EXEC = pack((b"EXEC",))
_MAX_FAILURES = 8  # that are told of; one is enough to stop


class Subject(NamedTuple):
    """What a command in the transaction is about, for an error.

    Attributes:
        cmd: Its name in upper case.
        key: Its first key.
        at: The offset in the stream, or the type of a key of a snapshot; None for our own.
    """

    cmd: str
    key: bytes | None
    at: int | str | None

    def where(self) -> str:
        """Say which one it is."""
        of_key = "" if self.key is None else f" of key {self.key[:200]!r}"
        if self.at is None:
            return of_key
        if isinstance(self.at, int):
            return f" at offset {self.at}{of_key}"
        return f"{of_key}, a {self.at or 'function'} of the snapshot"


class Failure(NamedTuple):
    """A command that the target has refused when it executed the transaction."""

    subject: Subject
    text: str


class Outcome(NamedTuple):
    """What became of a transaction.

    Attributes:
        commands: How many commands it had.
        failures: The first of those that failed; the others have been applied.
        failed: How many failed.
    """

    commands: int
    failures: list[Failure]
    failed: int


class Group:
    """One transaction.

    Args:
        connection: Nothing is expected from it.
        key, db: The checkpoint key.
        expected: What it holds, None for nothing.
        max_commands, max_bytes: How much may be unanswered; then replies are waited for.

    Attributes:
        db: The database that is selected behind what was added.
        sent_bytes: What was sent.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        key: bytes,
        db: int,
        expected: bytes | None,
        max_commands: int,
        max_bytes: int,
    ) -> None:
        self.db: int = db
        self.sent_bytes = 0
        self._connection = connection
        self._key = key
        self._checkpoint_db = db
        self._expected = expected
        self._max_commands = max_commands
        self._max_bytes = max_bytes
        self._subjects: list[Subject] = []
        opening = [(b"SELECT", b"%d" % db), (b"WATCH", key), (b"GET", key), (b"MULTI",)]
        self._parts: list[bytes] = [pack(words) for words in opening]
        self._parts_bytes = 0
        self._opening = len(opening)
        self._sent = 0  # commands that were sent, and how many of them were answered
        self._answered = 0
        self._unanswered_bytes = 0

    def add(self, packed: bytes, subject: Subject) -> None:
        """Add one command."""
        self._parts.append(packed)
        self._subjects.append(subject)
        self._parts_bytes += len(packed)
        if self._parts_bytes >= _SEND_BYTES:
            self.flush()

    def add_several(self, packed: bytes, subjects: list[Subject]) -> None:
        """Add commands that are encoded in one piece, as many as there are subjects."""
        self._parts.append(packed)
        self.count(subjects, len(packed))

    @property
    def parts(self) -> list[bytes]:
        """Where encoded commands can be appended; `count` has to follow.

        A call for each command would be a third of the work.
        """
        return self._parts

    def count(self, subjects: list[Subject], size: int) -> None:
        """Take note of commands that were appended to `parts`, and send them if they are many."""
        self._subjects += subjects
        self._parts_bytes += size
        if self._parts_bytes >= _SEND_BYTES:
            self.flush()

    def select(self, db: int) -> None:
        """Select the database of what is added next, where it is another."""
        if db != self.db:
            self.add(pack((b"SELECT", b"%d" % db)), Subject("SELECT", None, None))
            self.db = db

    def forget_db(self) -> None:
        """Select a database again before what is added next: others were selected meanwhile."""
        self.db = -1

    def flush(self) -> None:
        """Send what was added, and take what answers there are; wait for them past the limits.

        Raises:
            SinkError: The target has refused a command, or is away.
        """
        data = b"".join(self._parts)
        self._parts.clear()
        self._parts_bytes = 0
        self._connection.send(data)
        self.sent_bytes += len(data)
        self._unanswered_bytes += len(data)
        self._sent = self._opening + len(self._subjects)
        while self._answered < self._sent:
            replies = self._connection.replies(self._sent - self._answered, wait=False)
            if not replies:
                break
            self._take(replies)
        unanswered = self._sent - self._answered
        if unanswered > self._max_commands or self._unanswered_bytes > self._max_bytes:
            self._take_all()

    def execute(self, checkpoint: bytes) -> Outcome:
        """Set the checkpoint key and end the transaction.

        Returns:
            What failed although the transaction was executed: the rest of it is applied.

        Raises:
            SinkError: Nothing was executed; or, where the connection was lost, nobody knows.
        """
        self.select(self._checkpoint_db)
        self.add(pack((b"SET", self._key, checkpoint)), Subject("SET", self._key, None))
        self.flush()
        self._take_all()
        self._connection.send(_EXEC)
        self.sent_bytes += len(_EXEC)
        count = self._connection.array_head()
        if count is None:
            raise self._taken_over()
        if isinstance(count, hiredis.ReplyError):
            raise refused(self._connection.address, str(count), "EXEC")
        if count != len(self._subjects):
            raise SinkError(
                f"{self._connection.address} has executed {count} commands"
                f" of {len(self._subjects)}: it does not do what a Redis does"
            )
        return self._outcome()

    def _outcome(self) -> Outcome:
        """Read what EXEC has answered, and drop all but the errors."""
        failures: list[Failure] = []
        failed = done = 0
        while done < len(self._subjects):
            replies = self._connection.replies(len(self._subjects) - done)
            if hiredis.ReplyError in map(type, replies):
                for at, reply in enumerate(replies, done):
                    if isinstance(reply, hiredis.ReplyError):
                        failed += 1
                        if len(failures) < _MAX_FAILURES:
                            subject = self._subjects[at]
                            failures.append(Failure(subject, shown(str(reply), subject.cmd)))
            done += len(replies)
        return Outcome(done, failures, failed)

    def _take_all(self) -> None:
        while self._answered < self._sent:
            self._take(self._connection.replies(self._sent - self._answered))
        self._unanswered_bytes = 0

    def _take(self, replies: list[Reply]) -> None:
        begin = self._answered - self._opening
        self._answered += len(replies)
        if begin >= 0 and replies.count(_QUEUED) == len(replies):
            return
        for at, reply in enumerate(replies, begin):
            self._check(at, reply)

    def _check(self, at: int, reply: Reply) -> None:
        """Look at what a command was answered; those before 0 open the transaction."""
        if reply == _QUEUED and at >= 0:
            return
        subject = self._subjects[at] if at >= 0 else Subject("GET", self._key, None)
        if isinstance(reply, hiredis.ReplyError):
            raise refused(self._connection.address, str(reply), subject.cmd, what=subject.where())
        if at >= 0:
            raise SinkError(f"{self._connection.address} does not queue {subject.cmd}")
        if at == -2 and reply != self._expected:
            raise self._taken_over()

    def _taken_over(self) -> SinkError:
        return SinkError(
            f"{self._connection.address}: the checkpoint key {self._key.decode(errors='replace')!r}"
            " is not what this sink has written: nothing was applied",
            hint="does another worker write to it, or were its data deleted or restored?",
        )
