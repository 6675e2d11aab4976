import logging

from repltap.delivery.context import DeliveryContext
from repltap.delivery.progress import Progress
from repltap.delivery.settings import SinkSettings
from repltap.sink import SnapshotMode
from tests.delivery.targets import PlainSink, TestBell
from tests.delivery.wire import records_of
from tests.stored import SET


def test_it_counts_waits_and_writes() -> None:
    settings = SinkSettings(
        sink=PlainSink, name="a", type="t", origin="", options={}, snapshot=SnapshotMode.NEVER
    )
    progress = Progress()
    bell = TestBell(lambda bell: setattr(bell, "stopping", True))
    context = DeliveryContext(settings, "m", bell, progress, logging.getLogger("repltap.sink.a"))
    context.begin("here", {"a": 1})
    assert (context.place, context.state) == ("here", {"a": 1})
    assert context.wait(1000)
    context.sent(5)
    context.discarded(2, intentional=True)
    assert (progress.sent_bytes, progress.discarded) == (5, 2)
    assert context.json_lines(context.prepare(records_of(SET), b"", 0)).count(b"\n") == 1
