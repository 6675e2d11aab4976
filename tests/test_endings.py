"""The lists of reasons stay usable as labels."""

import re

import pytest

from repltap.endings import PEER_CLOSED, DenialReason, DisconnectReason, FailureReason


@pytest.mark.parametrize("reasons", [DenialReason, DisconnectReason, FailureReason])
def test_every_reason_is_a_label_of_its_own(
    reasons: type[DenialReason] | type[DisconnectReason] | type[FailureReason],
) -> None:
    values = [reason.value for reason in reasons]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", value) for value in values)


def test_a_replica_that_leaves_needs_no_sentence() -> None:
    assert (PEER_CLOSED.reason, PEER_CLOSED.detail) == (DisconnectReason.CLOSED, "")
