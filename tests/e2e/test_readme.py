"""What README.md shows, pasted into a terminal: it runs, and prints what is shown.

The rules are in tests/servers/paste.py. A block that is not run is in NOT_RUN with the reason.
"""

from __future__ import annotations

import re
import shutil

import pytest

from tests.servers.paste import Block, Terminal, blocks, is_as_shown, normal
from tests.servers.relay import REPOSITORY

pytestmark = pytest.mark.relay_only

README = REPOSITORY / "README.md"

NOT_RUN = {
    "make demo     # a master": "it lasts until ctrl-C; tests/demo plays it",
    "make test": "it runs this test",
    "python3 -m venv relay": "it installs from the network; this tree's repltap is used",
}
"""By the beginning of the block's first line."""

NEEDS = {
    "cat > prometheus.yml": ("prometheus", "promtool"),
    "kill %prometheus": ("prometheus", "promtool"),
}
"""Programs of others that a machine may lack: then the block is left out."""

FIRST = {
    "relay/bin/repltap status": "until relay/bin/repltap status | grep -q 'master is'\ndo :; done",
    "curl -s http://127.0.0.1:8380/metrics": "until [ "
    "\"$(curl -s http://127.0.0.1:8380/metrics | grep -c '^repltap_[a-z]*_lag')\" = 6 ]\n"
    "do sleep 0.1; done",
}
"""What takes the seconds in which somebody reads on: the master is asked once a second, a replica
acknowledges and a sink commits as often, each in its own time."""


def wanted(block: Block) -> bool:
    """Tell whether a block is run here."""
    if any(block.first.startswith(first) for first in NOT_RUN):
        return False
    needs = next((found for first, found in NEEDS.items() if block.first.startswith(first)), ())
    return all(shutil.which(program) for program in needs)


def test_it_does_what_it_shows(terminal: Terminal) -> None:
    for block in filter(wanted, blocks(README)):
        if block.first in FIRST:
            terminal.paste(FIRST[block.first])
        printed = terminal.paste(block.text)
        if block.shown is not None:
            assert is_as_shown(printed, block.shown), (
                f"{block.text}\nprints:\n{normal(printed)}\nshown is:\n{normal(block.shown)}"
            )
    left = {path.name for path in terminal.directory.iterdir()} - {"relay", "deploy", "docs"}
    assert left <= {"prometheus.yml"}, "the last block removes what the others have written"


def test_every_block_is_run_or_has_a_reason() -> None:
    firsts = [block.first for block in blocks(README)]
    for first in [*NOT_RUN, *NEEDS, *FIRST]:
        assert sum(line.startswith(first) for line in firsts) == 1, first
    text = README.read_text(encoding="utf-8")
    languages = {
        match[1] for match in re.finditer(r"^```(\w*)\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    }
    assert languages == {"sh", "text"}, "a fence of another language is neither run nor compared"


def test_its_links_lead_somewhere() -> None:
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, heading = target.partition("#")
        assert (REPOSITORY / path).exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", (REPOSITORY / path).read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title).strip().lower() for title in titles}
            assert heading in {slug.replace(" ", "-") for slug in slugs}, target


def test_it_stays_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 300
