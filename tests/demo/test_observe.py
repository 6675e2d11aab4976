"""The live line and the verdict."""

import pytest

from repltap.demo import observe
from repltap.demo.observe import Observed, Sample, compare, progress_line
from repltap.errors import ReplTapError


class Node(Observed):
    """A node that answers from a script; the last answer is repeated."""

    def __init__(self, name: str, offsets: list[int | None], digests: list[str]) -> None:
        super().__init__(name, 1)
        self.offsets = offsets
        self.digests = digests

    def offset(self) -> int | None:
        return self.offsets.pop(0) if len(self.offsets) > 1 else self.offsets[0]

    def digest(self) -> str:
        answer = self.digests.pop(0) if len(self.digests) > 1 else self.digests[0]
        if answer == "refused":
            raise ReplTapError("DEBUG: not allowed")
        return answer


def test_progress() -> None:
    before = Sample(10.0, 1000, {"master": 1})
    now = Sample(10.5, 2000, {"master": 900, "relay": 890, "replica 1": 700})
    line = progress_line(before, now)
    assert " ".join(line.split()) == ("2000 writes/s lag 200 bytes master 900 relay 890 r1 700")


def test_progress_without_an_answer() -> None:
    before = Sample(10.0, 0, {})
    assert "lag not known  master 9  relay -" in progress_line(
        before, Sample(11.0, 0, {"master": 9, "relay": None})
    )
    assert "lag not known" in progress_line(before, Sample(11.0, 0, {"master": None, "relay": 1}))


def test_equal() -> None:
    verdict = compare(Node("m", [7], ["aa"]), [Node("r", [7], ["aa"])], lambda: False)
    assert verdict.equal
    assert "datasets equal" in verdict.text
    assert "m, r, all at offset 7" in verdict.text


def test_different() -> None:
    verdict = compare(Node("m", [7], ["aa"]), [Node("r", [7], ["bb"])], lambda: False)
    assert not verdict.equal
    assert verdict.text == "DATASETS DIFFER at offset 7: m aa, r bb"


def test_it_waits_for_equal_offsets_and_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe.time, "sleep", lambda _seconds: None)
    master = Node("m", [7, 7, 8, 8], ["aa", "bb"])
    replica = Node("r", [None, 6, 7, 7, 8], ["aa", "bb"])
    assert compare(master, [replica], lambda: True).equal


@pytest.mark.parametrize(
    ("offsets", "digest", "text"),
    [
        ([6], "aa", "offsets differ: m at 7, r at 6"),
        ([None], "aa", "offsets differ: m at 7, r not reachable"),
        ([7], "refused", "datasets not compared: DEBUG: not allowed"),
        ([7, 8], "aa", "datasets not compared: the stream went on meanwhile"),
    ],
)
def test_no_verdict(offsets: list[int | None], digest: str, text: str) -> None:
    verdict = compare(Node("m", [7], ["aa"]), [Node("r", offsets, [digest])], lambda: False)
    assert not verdict.equal
    assert verdict.text == text


def test_a_node_that_does_not_answer() -> None:
    node = Observed("nobody", 1)
    assert node.info("replication") == {}
    assert node.offset() is None
    assert not node.linked()
