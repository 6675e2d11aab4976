"""Commands that belong on a master or a replica."""

import pytest

from repltap.net.admin.data_commands import (
    CLUSTER_COMMANDS,
    DATA_COMMANDS,
    UNSUPPORTED_COMMANDS,
)
from repltap.net.admin.dispatch import COMMANDS
from tests.net.admin.fakes import ask


@pytest.mark.parametrize("line", ["GET a", "set a 1", "DBSIZE", "EVAL x 0", "HSETEX k", "WATCH k"])
def test_data_is_elsewhere(line: str) -> None:
    assert ask(line) == (
        b"-ERR this is repltap, a replication relay: it holds no keys. "
        b"Send data commands to the master at 127.0.0.1:6379 or to a replica\r\n"
    )


@pytest.mark.parametrize("line", ["CLUSTER INFO", "READONLY"])
def test_no_cluster(line: str) -> None:
    assert ask(line) == b"-ERR This instance has cluster support disabled\r\n"


def test_known_and_not_supported() -> None:
    assert ask("LOLWUT") == (
        b"-ERR this is repltap, a replication relay: it does not support 'lolwut'\r\n"
    )


def test_each_name_has_one_answer() -> None:
    groups = [DATA_COMMANDS, CLUSTER_COMMANDS, UNSUPPORTED_COMMANDS, frozenset(COMMANDS)]
    assert len(frozenset().union(*groups)) == sum(map(len, groups))
