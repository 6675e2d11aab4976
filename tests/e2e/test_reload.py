"""SIGHUP with real servers: secrets are rotated and no link is cut for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers.lab import Lab
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

OLD, NEW, THIRD = (secret(name) for name in ("old", "new", "third"))


def hang_up(relay: Relay, line: str, change: Callable[[], object]) -> None:
    """Change something and send SIGHUP; wait until the log has one such line more than before.

    A password that was refused is read again without SIGHUP, too, and told once: that may be as
    soon as the file is written.
    """
    before = relay.log.count(line)
    change()
    os.kill(relay.pid, signal.SIGHUP)
    wait_for(f"{line!r} in the log", lambda: relay.log.count(line) > before)


def upstream(relay: Relay) -> dict[str, Any]:
    return dict(relay.status()["upstream"])


def test_a_rotated_password_of_the_master(lab: Lab) -> None:
    master = lab.master("redis-7.0", requirepass=OLD)
    file = lab.directory / "master-password"
    file.write_text(OLD + "\n")
    relay = lab.relay(master, upstream_password_file=str(file))
    relay.wait_link()

    master.call("CONFIG", "SET", "requirepass", NEW)
    hang_up(relay, "upstream password: not reloaded, the old one stays in use", file.unlink)
    assert upstream(relay)["link_up"]
    changed = "upstream password: reloaded: changed"
    hang_up(relay, changed, lambda: file.write_text(f"{NEW}\n"))
    assert (upstream(relay)["connects"], upstream(relay)["disconnects"]) == (1, 0)

    master.password = NEW
    master.drop_replicas()
    wait_for("a partial resync", lambda: master.syncs.partial_ok == 1)
    relay.wait_link()
    assert master.syncs.full == 1

    # Refused with the old one: what is read again is tried at once.
    master.call("CONFIG", "SET", "requirepass", THIRD)
    master.password = THIRD
    master.drop_replicas()
    wait_for("a refusal", lambda: "WRONGPASS" in upstream(relay)["last_error"])
    assert f"with the password of the file {file}: WRONGPASS" in upstream(relay)["last_error"]
    hang_up(relay, changed, lambda: file.write_text(f"{THIRD}\n"))
    relay.wait_link()
    assert master.syncs.full == 1

    # And without SIGHUP: what is refused is looked up again.
    fourth = secret("fourth")
    file.write_text(f"{fourth}\n")
    master.call("CONFIG", "SET", "requirepass", fourth)
    master.password = fourth
    master.drop_replicas()
    wait_for("another partial resync", lambda: master.syncs.partial_ok >= 3)
    relay.wait_link()
    assert master.syncs.full == 1
