"""What every sink does, whatever it writes to: one suite for all of them.

A test module of a sink has a `Target` of its own and

    class TestContract(SinkContract):
        @pytest.fixture
        def target(self, tmp_path: Path) -> Target:
            return MyTarget(tmp_path)

A target is new for each test. Sinks are killed in processes of their own, at every step.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest

from repltap.sink import AnyRecord, Kind, Sink, SinkError, SinkErrorKind
from tests.sinks.driver import Checkpoint, Driver, StubContext, place_of, run_and_die, steps
from tests.sinks.records import Batch, binary, document, every_kind, flat, large, numbered

_SAMPLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OPTION_NAME = re.compile(r"[a-z][a-z0-9_]*")

COMMIT_EVERY = 2
STEPS = len(steps(every_kind(), commit_every=COMMIT_EVERY, whole_transactions=False))

STRANGE_STATES: list[dict[str, Any]] = [
    {},
    {"version": 99},
    {"length": -1, "file": 7, "name": None},
    {"partition": {"0": 17}, "transactional_id": "x"},
]


class Target(ABC):
    """A sink under test and what it writes to.

    Attributes:
        exactly_once: Nothing is there twice after a crash.
        keeps_place: `open` returns the place.
        kinds: What it is given; a sink that takes all kinds leaves this alone.
        large_value_bytes: The largest value of the tests.
    """

    exactly_once = False
    keeps_place = False
    kinds = frozenset(Kind)
    large_value_bytes = 4 << 20

    @abstractmethod
    def sink(self) -> Sink:
        """Make a sink, as its settings are parsed, not opened; each call another for one target."""

    @abstractmethod
    def delivered(self) -> list[Any]:
        """Read what the target holds, in order, as `expected` has it; nothing uncommitted counts
        where a reader of the target would not see it."""

    def expected(self, records: Sequence[AnyRecord]) -> list[Any]:
        """What the target holds once these were delivered; by default their JSON."""
        return [document(record) for record in records]

    def identity(self, item: Any) -> Hashable:
        """What tells an item from the others; by default its id."""
        return item["id"]

    def failing(self) -> AbstractContextManager[None] | None:
        """Let the target fail as long as it lasts: `write`, `commit` or `open` has to raise."""
        return None

    def check(self, records: Sequence[AnyRecord], *, crashed: bool) -> None:
        """Compare what is delivered with what should be."""
        delivered = self.delivered()
        if crashed and not self.exactly_once:
            delivered = self._without_doubles(delivered)
        assert delivered == self.expected(records)

    def _without_doubles(self, items: list[Any]) -> list[Any]:
        first: dict[Hashable, Any] = {}
        for item in items:
            assert first.setdefault(self.identity(item), item) == item, "two of one id differ"
        return list(first.values())

    def wanted(self, batches: Sequence[Batch]) -> list[Batch]:
        """Those batches that it is given."""
        return [batch for batch in batches if batch[0].kind in self.kinds]


class SinkContract:
    """The suite. A subclass has a fixture `target`."""

    # What is delivered

    @pytest.mark.parametrize("commit_every", [1, 3, 1000])
    def test_every_kind_of_record_is_delivered_in_order(
        self, target: Target, commit_every: int
    ) -> None:
        batches = target.wanted(every_kind())
        Driver(target.sink(), batches, commit_every=commit_every).run()
        target.check(flat(batches), crashed=False)

    def test_values_may_be_any_bytes(self, target: Target) -> None:
        batches = binary()
        Driver(target.sink(), batches).run()
        target.check(flat(batches), crashed=False)

    def test_a_batch_may_be_large(self, target: Target) -> None:
        batches = numbered(20_000, batch=20_000)
        Driver(target.sink(), batches).run()
        target.check(flat(batches), crashed=False)

    def test_batches_may_be_small(self, target: Target) -> None:
        batches = numbered(60, batch=1)
        Driver(target.sink(), batches, commit_every=1).run()
        target.check(flat(batches), crashed=False)

    def test_a_value_may_be_large(self, target: Target) -> None:
        batches = large(target.large_value_bytes)
        Driver(target.sink(), batches, commit_every=1).run()
        target.check(flat(batches), crashed=False)

    # Where it goes on

    def test_another_one_goes_on_where_the_first_was_closed(self, target: Target) -> None:
        batches = numbered(40, batch=4)
        kept = Driver(target.sink(), batches[:5]).run()
        kept = Driver(target.sink(), batches, kept).run()
        target.check(flat(batches), crashed=False)
        Driver(target.sink(), batches, kept).run()  # nothing is left to do
        target.check(flat(batches), crashed=False)

    def test_the_same_one_is_opened_again(self, target: Target) -> None:
        batches = numbered(40, batch=4)
        sink = target.sink()
        kept = Driver(sink, batches[:5]).run()
        Driver(sink, batches, kept).run()
        target.check(flat(batches), crashed=False)

    def test_what_was_not_committed_is_written_again(self, target: Target) -> None:
        batches = numbered(40, batch=4)
        kept = Driver(target.sink(), batches[:4]).run()
        sink = target.sink()
        walk = Driver(sink, batches, kept, commit_every=1000).walk()
        for _ in range(4):
            next(walk)
        sink.close()
        Driver(sink, batches, kept).run()
        target.check(flat(batches), crashed=True)

    @pytest.mark.parametrize("after", range(STEPS))
    def test_killed_at_a_step_nothing_is_missing(self, target: Target, after: int) -> None:
        batches = target.wanted(every_kind())
        left = run_and_die(Driver(target.sink(), batches, commit_every=COMMIT_EVERY), after)
        Driver(target.sink(), batches, left.checkpoint, commit_every=COMMIT_EVERY).run()
        target.check(flat(batches), crashed=True)

    @pytest.mark.parametrize("stride", [2, 3, 5])
    def test_killed_again_and_again_nothing_is_missing(self, target: Target, stride: int) -> None:
        batches = target.wanted(every_kind())
        checkpoint = Checkpoint()
        for life in range(100):
            driver = Driver(target.sink(), batches, checkpoint, commit_every=1)
            # Two lives in three are too short for a commit, which may take five steps.
            left = run_and_die(driver, stride if life % 3 else stride + 3)
            checkpoint = left.checkpoint
            if left.ended:
                break
        else:
            raise AssertionError(f"it never came to an end, at {checkpoint.place}")
        target.check(flat(batches), crashed=True)

    def test_a_place_in_the_target_is_given_back_as_it_was(self, target: Target) -> None:
        batches = numbered(8, batch=4)
        Driver(target.sink(), batches).run()
        sink = target.sink()
        # As if the checkpoint had been lost.
        if target.keeps_place:
            assert sink.open(StubContext()) == place_of(2)
        sink.close()

    def test_a_place_in_the_target_counts_more_than_the_checkpoint(self, target: Target) -> None:
        if not target.keeps_place:
            pytest.skip("the place is the worker's")
        batches = numbered(40, batch=4)
        kept = Driver(target.sink(), batches[:2]).run()
        Driver(target.sink(), batches[:6], kept).run()
        Driver(target.sink(), batches, kept).run()
        target.check(flat(batches), crashed=False)

    @pytest.mark.parametrize("reset_to", [None, 2, 5, 7])
    def test_a_place_in_the_target_does_not_count_after_a_reset(
        self, target: Target, reset_to: int | None
    ) -> None:
        if not target.keeps_place:
            pytest.skip("the place is the worker's")
        batches = numbered(40, batch=4)
        kept = Driver(target.sink(), batches[:5]).run()
        reset = _reset(kept, reset_to)
        delivered = batches[:5]
        left = run_and_die(Driver(target.sink(), batches, reset, commit_every=1), 3)
        if left.steps == 3:  # open, write, commit: in the target, and not in what the worker kept
            assert left.checkpoint == reset
        kept = Driver(target.sink(), batches, left.checkpoint, commit_every=1).run()
        delivered += batches[reset_to or 0 :]
        assert not kept.reset
        Driver(target.sink(), batches, kept).run()  # nothing is left to do
        target.check(flat(delivered), crashed=False)

    @pytest.mark.parametrize("after", range(1, 6))
    def test_killed_behind_a_reset_each_record_is_there_once(
        self, target: Target, after: int
    ) -> None:
        if not target.keeps_place:
            pytest.skip("the place is the worker's")
        batches = numbered(16, batch=4)
        kept = Driver(target.sink(), batches).run()
        # One commit comes to the same place as the one before the reset.
        left = run_and_die(Driver(target.sink(), batches, _reset(kept, 2)), after)
        Driver(target.sink(), batches, left.checkpoint).run()
        target.check(flat([*batches, *batches[2:]]), crashed=False)

    @pytest.mark.parametrize("state", STRANGE_STATES)
    def test_a_state_of_another_sink_is_no_crash(
        self, target: Target, state: dict[str, Any]
    ) -> None:
        sink = target.sink()
        with suppress(SinkError):
            sink.open(StubContext(place_of(1), state))
        sink.close()

    # The calls

    def test_a_commit_without_records_changes_nothing(self, target: Target) -> None:
        batches = numbered(8, batch=4)
        sink = target.sink()
        sink.open(StubContext())
        sink.commit(place_of(0))
        sink.write(batches[0])
        sink.commit(place_of(1))
        state = sink.commit(place_of(1))
        sink.close()
        kept = Checkpoint(place_of(1), None if state is None else dict(state))
        Driver(target.sink(), batches, kept).run()
        target.check(flat(batches), crashed=False)

    def test_close_may_come_at_any_time(self, target: Target) -> None:
        sink = target.sink()
        sink.close()
        sink.open(StubContext())
        sink.close()
        sink.close()
        sink.open(StubContext())
        sink.idle()
        sink.close()

    def test_errors_are_sink_errors(self, target: Target) -> None:
        broken = target.failing()
        if broken is None:
            pytest.skip("nothing lets this target fail")
        batches = numbered(40, batch=4)
        driver = Driver(target.sink(), batches, commit_every=2)
        walk = driver.walk()
        while next(walk).batch < 3:
            pass
        with broken:
            with pytest.raises(SinkError) as raised:
                for _ in walk:
                    pass
            driver.sink.close()
            for _ in range(2):  # it stays so, and still is no crash
                with pytest.raises(SinkError):
                    Driver(target.sink(), batches, driver.checkpoint).run()
        assert isinstance(raised.value.kind, SinkErrorKind)
        assert "\n" not in str(raised.value)
        Driver(target.sink(), batches, driver.checkpoint).run()
        target.check(flat(batches), crashed=True)

    # What it says of itself

    def test_options_are_well_formed(self, target: Target) -> None:
        kind = type(target.sink())
        names = [option.name for option in kind.options]
        assert len(set(names)) == len(names)
        assert not kind.target or kind.target in names
        for option in kind.options:
            assert _OPTION_NAME.fullmatch(option.name)
            assert option.help
            assert "\n" not in option.help
            assert not (option.required and option.default is not None)

    def test_it_says_whether_each_record_is_there_once(self, target: Target) -> None:
        assert target.sink().exactly_once is target.exactly_once

    def test_samples_are_well_formed(self, target: Target) -> None:
        batches = numbered(8, batch=4)
        driver = Driver(target.sink(), batches)
        for step in driver.walk():
            if step.what == "close":
                break
            samples = driver.sink.samples()
            assert len(samples) <= 2000
            series = [(s.name, tuple(sorted(s.labels.items()))) for s in samples]
            assert len(set(series)) == len(series)
            for sample in samples:
                assert _SAMPLE_NAME.fullmatch(sample.name)
                assert not sample.name.startswith("repltap_")
                assert sample.help
                assert sample.value == sample.value


def _reset(kept: Checkpoint, to: int | None) -> Checkpoint:
    """What `repltap sink reset` makes of what was kept."""
    if to is None:
        return Checkpoint(reset="a reset")
    return Checkpoint(place_of(to), kept.state, "a reset")
