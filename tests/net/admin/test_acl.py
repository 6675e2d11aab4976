"""ACL: whoami, and nothing else."""

from repltap.net.admin.context import ClientState
from tests.net.admin.fakes import FakeClient, ask


def test_who_am_i() -> None:
    assert ask("ACL WHOAMI") == b"$7\r\ndefault\r\n"
    client = FakeClient(state=ClientState(authenticated=True, username="replicas"))
    assert ask("acl whoami", client) == b"$8\r\nreplicas\r\n"


def test_the_rest_is_not_here() -> None:
    assert ask("ACL SETUSER x").startswith(b"-ERR unknown subcommand 'SETUSER'. Try ACL HELP.")
    assert b"WHOAMI" in ask("ACL HELP")
