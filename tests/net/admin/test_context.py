"""The seams: what tests use fits them, and a new connection starts from nothing."""

from repltap.net.admin.context import AdminContext, ClientKind, ClientState, ClientView
from tests.net.admin.fakes import FakeClient, FakeContext


def test_fakes_are_what_they_stand_for() -> None:
    context: AdminContext = FakeContext()
    client: ClientView = FakeClient()
    assert context.clients() == []
    assert client.kind is ClientKind.NORMAL


def test_a_new_connection() -> None:
    state = ClientState(authenticated=False)
    assert (state.username, state.name, state.resp) == ("default", b"", 2)
    assert not state.close_after_reply
