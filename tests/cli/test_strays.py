"""Variables that are no option."""

import pytest

from repltap.access import ALL_RIGHTS, User, Users
from repltap.cli.strays import stray_variables
from repltap.sink_config import SinkConfig

SINK = SinkConfig(name="my-sink", type="file", settings={}, origin="here")
USERS = Users((User("my-replica", ALL_RIGHTS, ()),))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("REPLTAP_DATADIR", "did you mean REPLTAP_DATA_DIR?"),
        ("REPLTAP_UPSTREAM_TIMEOUT_SECOND", "did you mean REPLTAP_UPSTREAM_TIMEOUT_SECONDS?"),
        ("REPLTAP_SINK_MY_SINK_PTH", "did you mean REPLTAP_SINK_MY_SINK_PATH?"),
        ("REPLTAP_SINK_OTHER_X", "no setting of a configured sink"),
        ("REPLTAP_USER_SOMEBODY_ELSE", "no password of a user that the file declares"),
        ("REPLTAP_USER_MY_REPLICA_PASSWORDS", "mean REPLTAP_USER_MY_REPLICA_PASSWORD?"),
        ("REPLTAP_UPSTREAM_PASS", "did you mean REPLTAP_UPSTREAM_PASSWORD?"),
        ("REPLTAP_STORE_DATA_DIR", "did you mean REPLTAP_DATA_DIR?"),
        ("REPLTAP_LISTEN_ADDRESS", "did you mean REPLTAP_LISTEN?"),
    ],
)
def test_strays_are_told_without_their_values(name: str, said: str) -> None:
    (told,) = stray_variables({name: "hunter2", "PATH": "/bin"}, [SINK], USERS)
    assert told.startswith(f"{name} is set and is no ")
    assert told.endswith(said)
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "name",
    [
        "REPLTAP_DATA_DIR",
        "REPLTAP_CONFIG",
        "REPLTAP_SINK",
        "REPLTAP_USER_MY_REPLICA_PASSWORD",
        "REPLTAP_USER_MY_REPLICA_PASSWORD_FILE",
        "REPLTAP_SINK_MY_SINK_PATH",
        "REPLTAP_SINK_MY_SINK_REDACT_SECRET",
        # What Kubernetes sets for services repltap and repltap-http.
        "REPLTAP_PORT",
        "REPLTAP_SERVICE_HOST",
        "REPLTAP_SERVICE_PORT",
        "REPLTAP_SERVICE_PORT_HTTP",
        "REPLTAP_PORT_6380_TCP",
        "REPLTAP_PORT_6380_TCP_ADDR",
        "REPLTAP_HTTP_SERVICE_HOST",
        # What is somebody else's.
        "REPLTAP_FOO",
        "REPLTAP_IMAGE",
        "REPLTAP_HTTP_PORT",
    ],
)
def test_what_is_none(name: str) -> None:
    assert stray_variables({name: "x"}, [SINK], USERS) == []
