"""What the pages in docs/ show, pasted into a terminal; the rules are in tests/servers/paste.py.

A page that is not in PAGES is in NOT_RUN with what else tests it. So is a block of commands whose
fence is not `sh`.
"""

from __future__ import annotations

import re
import shutil

import pytest

from tests.servers.paste import (
    Block,
    Terminal,
    blocks,
    fences_without_language,
    is_as_shown,
    normal,
)
from tests.servers.relay import REPOSITORY

pytestmark = pytest.mark.relay_only

DOCS = REPOSITORY / "docs"
ALL_PAGES = sorted(DOCS.glob("*.md"))

MASTER = """
redis-server --port 6379 --save '' --repl-diskless-sync-delay 0 --daemonize yes >/dev/null
until redis-cli -p 6379 PING 2>&1 | grep PONG; do sleep 0.1; done
redis-cli -p 6379 HSET user:1 name Ada
redis-cli -p 6379 SET hello world
"""
RELAY = """
repltap run --upstream redis://127.0.0.1:6379 --data-dir ./data >relay.log 2>&1 &
until redis-cli -p 6380 INFO replication 2>&1 | grep master_link_status:up; do sleep 0.1; done
redis-server --port 6381 --save '' --replicaof 127.0.0.1 6380 --daemonize yes >/dev/null
until redis-cli -p 6381 INFO replication 2>&1 | grep master_link_status:up; do sleep 0.1; done
redis-cli -p 6379 SET hello again
until repltap journal cat --data-dir ./data | grep again; do sleep 0.1; done
"""
EMPTY = """
for port in 6390 6391 7000; do
redis-server --port $port --save '' --dbfilename $port.rdb --daemonize yes >/dev/null
until redis-cli -p $port PING 2>&1 | grep PONG; do sleep 0.1; done; done
"""

PAGES = {
    ("relay.md",): MASTER,
    ("log.md",): MASTER,
    ("redis.md",): MASTER + EMPTY,
    ("store.md", "api.md", "metrics.md", "configuration.md"): MASTER + RELAY + EMPTY,
}
"""Pages that one terminal runs, and what has to be there before."""

NOT_RUN = {
    "access.md": "tests/net/admin/test_rights.py",
    "cluster.md": "tests/e2e/test_cluster.py",
    "kafka.md": "tests/e2e/test_kafka_sink.py",
    "monitor.md": "tests/e2e/test_monitor.py",
    "sentinel.md": "tests/e2e/test_sentinel.py",
    "tls.md": "tests/e2e/test_tls.py",
    "sinks.md": "tests/e2e/test_sinks_page.py",
}
"""Pages with commands that need more than this: which module tests what they say."""

_COMMAND = re.compile(r"(repltap|redis-\w+|curl|relay/bin|REPLTAP_\w+=|kill|timeout|make)\b")


def bare(block: str) -> bool:
    """Tell whether a fence without language has commands."""
    return any(_COMMAND.match(line) for line in block.split("\n"))


def wanted(block: Block) -> bool:
    return shutil.which("jq") is not None or "jq" not in block.text


@pytest.mark.parametrize("pages", PAGES, ids=lambda pages: pages[0])
def test_it_does_what_it_shows(terminal: Terminal, pages: tuple[str, ...]) -> None:
    terminal.paste(PAGES[pages])
    for block in (block for page in pages for block in blocks(DOCS / page)):
        if not wanted(block):
            continue
        printed = terminal.paste(block.text)
        assert printed.strip(), block.text
        assert "Traceback" not in printed
        if block.shown is not None:
            assert is_as_shown(printed, block.shown), (
                f"{block.page}:\n{block.text}\nprints:\n{normal(printed)}\n"
                f"shown is:\n{normal(block.shown)}"
            )


def test_every_page_with_commands_is_run_or_tested_elsewhere() -> None:
    run = {page for pages in PAGES for page in pages}
    loose = {page.name: [t for t in fences_without_language(page) if bare(t)] for page in ALL_PAGES}
    for page in run:
        assert not loose[page], f"{page}: a block of commands has the language sh"
    others = {page.name for page in ALL_PAGES if loose[page.name] or blocks(page)} - run
    assert others == set(NOT_RUN), "which test runs the commands of these pages?"
    for module in NOT_RUN.values():
        assert (REPOSITORY / module).exists(), module


def test_links_lead_somewhere() -> None:
    for page in ALL_PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).exists(), f"{page.name}: {target}"
