from repltap.delivery.notices import Notices
from repltap.delivery.place import Place
from repltap.delivery.stream import StreamState
from repltap.sink import Kind
from tests.stored import OTHER, REPLID

PLACE = Place.stream(1, REPLID, StreamState(100, 0))
NOTICES = Notices("m")


def test_a_failover_says_what_is_taken_back() -> None:
    notice = NOTICES.failover(OTHER, PLACE, 150)
    assert (notice.kind, notice.offset_start, notice.offset_end) == (Kind.HISTORY, 100, 150)
    assert notice.details == {"reason": "failover", "previous_replid": OTHER}
    assert notice.id == f"{REPLID}:100:history"


def test_the_same_has_the_same_id() -> None:
    gap = NOTICES.gap(40, PLACE)
    assert gap.id == NOTICES.gap(40, PLACE).id
    assert (gap.offset_start, gap.offset_end, gap.replid) == (40, 100, REPLID)
    lost = NOTICES.lost_history(PLACE, PLACE)
    assert lost.details["reason"] == "history_removed"
    assert lost.offset_start == lost.offset_end == 100


def test_heartbeats_differ() -> None:
    beat = NOTICES.heartbeat(PLACE)
    assert beat.kind is Kind.HEARTBEAT
    assert beat.id == f"{REPLID}:100:heartbeat:{beat.ts_ms}"
