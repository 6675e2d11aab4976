"""The records about the stream itself. Their ids are the same whenever the same is told again.

<replid>:<offset>:history    the new replid, and where it begins
<replid>:<offset>:gap        where it goes on
<replid>:<offset>:begin:<crc64>, <replid>:<offset>:end:<crc64>    of a snapshot
<replid>:<offset>:heartbeat:<ts_ms>
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from repltap.delivery.place import Place
from repltap.sink import Kind, Notice
from repltap.store.snapshot import Snapshot


class Notices:
    """Makes notices.

    Args:
        source: The configured name of the upstream.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def failover(self, previous: str, place: Place, delivered_until: int) -> Notice:
        """Tell of a new replid; what was delivered from `place` to `delivered_until` is void."""
        return self._make(
            Kind.HISTORY,
            f"{place.replid}:{place.offset}:history",
            place,
            (place.offset, delivered_until),
            {"reason": "failover", "previous_replid": previous},
        )

    def full_resync(self, previous: Place, place: Place) -> Notice:
        """Tell of a history that has nothing to do with the one before."""
        return self._make(
            Kind.HISTORY,
            f"{place.replid}:{place.offset}:history",
            place,
            (place.offset, place.offset),
            {
                "reason": "full_resync",
                "previous_replid": previous.replid,
                "previous_offset": previous.offset,
            },
        )

    def gap(self, start: int, place: Place) -> Notice:
        """Tell of bytes that the journal does not have any more."""
        return self._make(
            Kind.GAP,
            f"{place.replid}:{place.offset}:gap",
            place,
            (start, place.offset),
            {"reason": "trimmed"},
        )

    def lost_history(self, previous: Place, place: Place) -> Notice:
        """Tell of a history that was removed before it was read to its end."""
        return self._make(
            Kind.GAP,
            f"{previous.replid}:{previous.offset}:gap",
            place,
            (previous.offset, previous.offset),
            {"reason": "history_removed", "previous_replid": previous.replid},
        )

    def snapshot_begin(self, snapshot: Snapshot, place: Place) -> Notice:
        """Tell that the keys of a snapshot follow."""
        details: dict[str, str | int] = {
            "format": snapshot.format,
            "size_bytes": snapshot.size_bytes,
            "created_at_ms": int(snapshot.created_at * 1000),
        }
        version = snapshot.aux.get("valkey-ver") or snapshot.aux.get("redis-ver")
        if version:
            details["server_version"] = version
        return self._snapshot(Kind.SNAPSHOT_BEGIN, "begin", place, details)

    def snapshot_end(self, place: Place) -> Notice:
        """Tell that the stream follows."""
        return self._snapshot(Kind.SNAPSHOT_END, "end", place, {"records": place.ordinal})

    def heartbeat(self, place: Place) -> Notice:
        """Tell that everything before the place was delivered."""
        notice = self._make(Kind.HEARTBEAT, "", place, (place.offset, place.offset), {})
        identity = f"{place.replid}:{place.offset}:heartbeat:{notice.ts_ms}"
        return notice._replace(id=identity)

    def _snapshot(
        self, kind: Kind, word: str, place: Place, details: Mapping[str, str | int]
    ) -> Notice:
        identity = f"{place.replid}:{place.offset}:{word}:{place.crc64:016x}"
        return self._make(kind, identity, place, (place.offset, place.offset), details)

    def _make(
        self,
        kind: Kind,
        identity: str,
        place: Place,
        offsets: tuple[int, int],
        details: Mapping[str, str | int],
    ) -> Notice:
        start, end = offsets
        now_ms = int(time.time() * 1000)
        return Notice(kind, identity, self._source, place.replid, start, end, now_ms, details)
