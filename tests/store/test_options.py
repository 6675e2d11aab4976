import dataclasses

import pytest

from repltap.store.options import StoreOptions


def test_defaults_and_frozen() -> None:
    options = StoreOptions()
    assert options.segment_bytes == 64 << 20
    assert options.quota_bytes is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.segment_bytes = 1  # type: ignore[misc]
