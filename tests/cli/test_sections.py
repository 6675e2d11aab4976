"""Tables on a terminal, aligned text elsewhere."""

import io

import pytest
from rich.console import Console

from repltap.cli.sections import as_tables, as_text
from repltap.cli.status_view import sections
from repltap.position import Offset
from repltap.status.relay import RelayStatus
from tests.net.admin.fakes import relay_status, replica


def screen(status: RelayStatus, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(as_tables(sections(status)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_and_numbers_stay_whole(width: int) -> None:
    far = Offset(2**53 + 12345)
    long = replica(ip="replica-3.a-long-hostname.example.internal", acked_offset=far)
    lines = screen(relay_status(replicas=(replica(), long)), width)
    assert max(map(len, lines)) <= width
    shown = "\n".join(lines)
    for whole in (str(far), "50 B", "118 MiB", "REDIS0010", "416457422e4a6438949045ca729ca19c"):
        assert whole in shown


def test_what_a_peer_said_does_not_steer_the_terminal() -> None:
    status = relay_status(replicas=(replica(version="\x1b[2J[red]x"),))
    shown = "\n".join(screen(status, 120))
    assert "?[2J[red]x" in shown
    assert "\x1b[2J" not in shown
    assert "\x1b" not in as_text(sections(status))
