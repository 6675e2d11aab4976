from __future__ import annotations

import dataclasses
import typing

import pytest

from repltap.protocol import events

ALL = [*typing.get_args(events.UpstreamEvent), *typing.get_args(events.DownstreamEvent)]


def test_the_unions_name_every_event() -> None:
    classes = [c for c in vars(events).values() if dataclasses.is_dataclass(c)]
    assert {c for c in classes if c.__module__ == events.__name__} == set(ALL)


@pytest.mark.parametrize("event", ALL)
def test_events_are_frozen_and_slotted(event: type) -> None:
    assert event.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(event)
