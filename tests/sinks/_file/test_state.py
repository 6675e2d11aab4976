"""What is found again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks._file.state import Current, Made, State

MADE = Made("a.log", "json", "zstd", True)
STATE = State(MADE, "/d", 9, [("a", 1), ("b", 2)], Current("c", 17, 1.5, True))


@pytest.mark.parametrize("state", [STATE, State(MADE, "/d", 0, [], None)])
def test_there_and_back(state: State) -> None:
    assert State.parse(json.loads(json.dumps(dict(state.as_json())))) == state


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"sink": "log"},
        {"sequence": "x"},
        {"complete": [["a"]]},
        {"complete": [["../a", 1]]},
        {"current": {"name": "c"}},
        {"made": None},
        {"complete": [["", 1]]},
    ],
)
def test_what_is_something_else(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        State.parse({**STATE.as_json(), **change})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(STATE.as_json())), _JSON)
def test_damage_is_a_value_error(name: str, value: object) -> None:
    """Whatever one field is, it is read or refused, and a name never leaves the directory."""
    try:
        state = State.parse({**STATE.as_json(), name: value})
    except ValueError:
        return
    assert all("/" not in name for name, _ in state.complete)
