"""The RDB on its way from the master: where it ends, and whether it is whole.

Both forms (fact sheet 2.1; Redis `readSyncBulkPayload`): `$<length>` and then exactly that many
bytes, or `$EOF:<mark>` and then bytes until the same forty characters come again. This module never
parses the RDB, but it lets nothing out before the first nine bytes are an RDB's: what begins
otherwise would reach every replica before its checksum is known to be wrong. It must never let the
mark out as data, and never take a mark that is part of the data for the end: a server uses one mark
for all transfers of its life, so a client can have stored it in a value.

An RDB ends in its CRC-64, little-endian, or in eight zero bytes when the server writes none. That
decides:

- mark behind bytes whose checksum is right: the end, whatever follows;
- mark behind an EOF opcode and eight other bytes, and nothing after it: the end if it stays the
  last thing (a master says nothing more until our ACK). `settle` gives the verdict: no checksum, or
  a wrong one. Until then more data means that it was no end.
"""

from __future__ import annotations

import re

import anycrc

from repltap.endings import FailureReason
from repltap.protocol.events import LinkFailed, SnapshotReceived

MARK_BYTES = 40
CHECKSUM_BYTES = 8
MIN_RDB_BYTES = 18
"""Magic, EOF opcode, checksum: the smallest RDB of version 5 or later (fact sheet 2.8)."""

MAGIC_BYTES = 9
_MAGIC = re.compile(rb"REDIS\d{4}|VALKEY\d{3}")

_HELD_BYTES = 1 + CHECKSUM_BYTES + MARK_BYTES
"""Kept back in the `$EOF:` form: a whole mark, and what is looked at before it."""

_EOF_OPCODE = 0xFF
_NO_CHECKSUM = bytes(CHECKSUM_BYTES)
_crc64 = anycrc.Model("CRC64-REDIS")


class RdbTransfer:
    """One RDB in transit. Feed it until `outcome` is set.

    Args:
        size_bytes: Announced length; None in the `$EOF:` form.
        mark: The forty bytes that end the `$EOF:` form.
        max_bytes: Longer than this is refused; None for no limit.
    """

    def __init__(
        self, *, size_bytes: int | None, mark: bytes | None, max_bytes: int | None = None
    ) -> None:
        if (size_bytes is None) == (mark is None):
            raise ValueError("an RDB has a length or an end mark")
        self.announced_bytes = size_bytes
        self.received_bytes = 0  # RDB bytes given out so far
        self.outcome: SnapshotReceived | LinkFailed | None = None
        self._mark = mark
        self._max = max_bytes
        self._opening: bytes | None = b""  # less than the magic so far; None once that was right
        self._crc = 0  # of everything but the last eight bytes, as far as they are known to be that
        self._tail = b""  # `$length`: the checksum bytes so far
        self._held = b""  # `$EOF:`: received but not given out
        if size_bytes is not None and size_bytes < MIN_RDB_BYTES:
            self._fail(FailureReason.PROTOCOL, f"announced an RDB of {size_bytes} bytes")
        elif size_bytes is not None:
            self._check_size(size_bytes)

    @property
    def may_be_complete(self) -> bool:
        """A mark without a right checksum is the last thing that arrived; see `settle`."""
        held = self._held
        return (
            self.outcome is None
            and self._mark is not None
            and len(held) == _HELD_BYTES
            and held[0] == _EOF_OPCODE
            and held.endswith(self._mark)
            and self.received_bytes + len(held) - MARK_BYTES >= MIN_RDB_BYTES
        )

    def feed(self, data: memoryview) -> tuple[memoryview, int]:
        """Take bytes from the link.

        Args:
            data: What came, valid during the call; not empty.

        Returns:
            RDB bytes to store, which may be none and may alias `data`, and how many bytes of `data`
            belong to the transfer. Fewer than all only once `outcome` is set: the rest is stream.
        """
        if self.outcome is not None:
            return data[:0], 0
        if self._opening is not None:
            return self._open(data, self._opening)
        if self._mark is None:
            return self._feed_counted(data)
        return self._feed_marked(data, self._mark)

    def settle(self) -> memoryview:
        """Decide on a mark that stayed the last thing; sets `outcome` if `may_be_complete`.

        Returns:
            The RDB bytes that were still held back.
        """
        if not self.may_be_complete:
            return memoryview(b"")
        return self._end(self._held, len(self._held) - MARK_BYTES)

    def _open(self, data: memoryview, opening: bytes) -> tuple[memoryview, int]:
        """Hold back the first bytes until the magic can be judged (8.1; Redis `rdbLoadRio`)."""
        whole = memoryview(opening + bytes(data)) if opening else data
        magic = bytes(whole[:MAGIC_BYTES])
        if len(magic) < MAGIC_BYTES:
            self._opening = magic
            return data[:0], len(data)
        if _MAGIC.fullmatch(magic) is None:
            text = f"the master sent no RDB: what came begins with {magic!r}"
            self._fail(FailureReason.PROTOCOL, text)
            return data[:0], len(data)
        self._opening = None
        out, used = self.feed(whole)
        return out, used - len(opening)

    def _feed_counted(self, data: memoryview) -> tuple[memoryview, int]:
        assert self.announced_bytes is not None
        chunk = data[: self.announced_bytes - self.received_bytes]
        body = chunk[: max(0, self.announced_bytes - CHECKSUM_BYTES - self.received_bytes)]
        self._crc = _crc64.calc(body, self._crc)
        self._tail += chunk[len(body) :]
        self.received_bytes += len(chunk)
        if self.received_bytes == self.announced_bytes:
            self._judge(self._tail)
        return chunk, len(chunk)

    def _feed_marked(self, data: memoryview, mark: bytes) -> tuple[memoryview, int]:
        buffer = b"".join((self._held, data))
        # A mark inside the held bytes was judged already; one that only begins there was not.
        at = buffer.find(mark, max(0, len(self._held) - MARK_BYTES + 1))
        crc, summed = self._crc, 0
        while at >= 0:
            if at >= 1 + CHECKSUM_BYTES and self.received_bytes + at >= MIN_RDB_BYTES:
                body = at - CHECKSUM_BYTES
                crc = _crc64.calc(memoryview(buffer)[summed:body], crc)
                summed = body
                if crc == int.from_bytes(buffer[body:at], "little"):
                    used = len(data) - (len(buffer) - at - MARK_BYTES)
                    return self._end(buffer, at), used
            at = buffer.find(mark, at + 1)
        # The checksum bytes are among those kept back, so what goes out is all body so far.
        out = memoryview(buffer)[: max(0, len(buffer) - _HELD_BYTES)]
        self._held = buffer[len(out) :]
        self._crc = _crc64.calc(out, self._crc)
        self.received_bytes += len(out)
        self._check_size(self.received_bytes)
        return out, len(data)

    def _end(self, buffer: bytes, at: int) -> memoryview:
        view = memoryview(buffer)
        self._crc = _crc64.calc(view[: at - CHECKSUM_BYTES], self._crc)
        self._held = b""
        self.received_bytes += at
        if self._check_size(self.received_bytes):
            self._judge(buffer[at - CHECKSUM_BYTES : at])
        return view[:at]

    def _judge(self, stored: bytes) -> None:
        # Zeros mean "none": rdbchecksum no, or Valkey's skip-rdb-checksum (Redis `rdbLoadRio`).
        if stored == _NO_CHECKSUM or self._crc == int.from_bytes(stored, "little"):
            self.outcome = SnapshotReceived(self.received_bytes, self._crc, stored != _NO_CHECKSUM)
            return
        self._fail(
            FailureReason.CHECKSUM,
            f"the RDB of {self.received_bytes} bytes arrived damaged: its checksum is wrong",
        )

    def _check_size(self, size_bytes: int) -> bool:
        if self._max is None or size_bytes <= self._max:
            return True
        text = f"the RDB is larger than the limit: {size_bytes} of at most {self._max} bytes"
        self._fail(FailureReason.TOO_LARGE, text)
        return False

    def _fail(self, reason: FailureReason, message: str) -> None:
        self.outcome = LinkFailed(reason, message)
