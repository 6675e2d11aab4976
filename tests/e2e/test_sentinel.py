"""A relay below a master that real sentinels watch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hiredis
import pytest

from tests.servers.dataset import wait_same
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.relay import Relay
from tests.servers.secrets import secret
from tests.servers.sentinel import MASTER_NAME, Sentinel, failover, wait_settled, watchful
from tests.servers.server import Server
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

DOCUMENT = Path(__file__).parents[2] / "docs" / "sentinel.md"

# The versions that the test of ten failovers does not have.
PROGRAMS = ("redis-6.2", "redis-8.2", "valkey-8.1")


def _listed(sentinel: Sentinel, port: int) -> dict[str, str]:
    return next((each for each in sentinel.replicas() if int(each["port"]) == port), {})


def _follows(relay: Relay, master: Server) -> None:
    wait_for(
        f"the relay follows {master.name}",
        lambda: relay.link_up and relay.status()["upstream"]["port"] == master.port,
        60,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_relay_is_a_replica_that_is_re_pointed_and_never_promoted(lab: Lab, program: str) -> None:
    """A master that is killed, a restart of the relay, and a failover that was asked for."""
    first = lab.master(program, "first")
    second = lab.server(program, "second", upstream=first)
    relay = lab.relay(first)
    below = lab.server(program, "below", upstream=relay)
    for node in (second, relay, below):
        node.wait_link(60)
    sentinels = lab.sentinels(program, first)
    wait_settled(sentinels, first, second, relay)
    load = Load(first, features=first.flavour.features)
    load.write(200)
    wait_same(first, second, below)
    first.kill()
    with watchful(sentinels):
        _follows(relay, second)
    wait_same(second, below)
    assert (second.syncs.full, below.full_syncs_received) == (0, 1)
    wait_for("it is kept", lambda: relay.status()["upstream"]["kept"])
    relay.stop()
    relay.restart()
    _follows(relay, second)
    assert relay.status()["upstream"]["configured"] == f"127.0.0.1:{first.port}"
    first.restart()
    wait_settled(sentinels, second, first, relay)
    with Load(second, features=second.flavour.features):
        failover(sentinels[0], second)
        _follows(relay, first)
    wait_for("the other is a replica", lambda: second.link_up, 60)
    wait_same(first, below, second)
    # What Redis's own replicas do: who has taken more of the old master's stream than the promoted
    # one had can't go on from there.
    assert below.full_syncs_received - 1 <= first.log.count("but I can reply up to")
    wait_for("nothing is kept", lambda: not (relay.data_dir / "followed.json").exists())
    assert not relay.status()["upstream"]["configured"]
    # Who has just heard of the failover knows nothing yet of those below the new master.
    wait_settled(sentinels, first, second, relay)
    for sentinel in sentinels:
        shown = _listed(sentinel, relay.port)
        assert shown["slave-priority"] == "0"
        assert shown["flags"] == "slave"


@pytest.mark.parametrize("program", ["redis-7.0", "valkey-9.1"])
def test_a_relay_finds_its_master_through_sentinels_with_passwords(
    lab: Lab, program: str, tmp_path: Path
) -> None:
    """All sentinels go and come back: the stream does not mind. Then the master goes."""
    of_servers, of_sentinels = secret("servers"), secret("sentinels")
    login: dict[str, str | int] = {"requirepass": of_servers, "masterauth": of_servers}
    first = lab.master(program, "first", **login)
    second = lab.server(program, "second", upstream=first, **login)
    second.wait_link(60)
    sentinels = lab.sentinels(
        program,
        first,
        password=of_sentinels,
        lines=(
            f"requirepass {of_sentinels}",
            f"sentinel sentinel-pass {of_sentinels}",
            f"sentinel auth-pass {MASTER_NAME} {of_servers}",
        ),
    )
    file = tmp_path / "secret"
    file.write_text(of_sentinels)
    relay = lab.relay(
        first,
        start=False,
        upstream_password=of_servers,
        upstream_sentinel_password_file=str(file),
        listen_password=of_servers,
    )
    relay.upstream_url = f"redis-sentinel://127.0.0.1:{sentinels[0].port}/{MASTER_NAME}"
    relay.start()
    below = lab.server(program, "below", upstream=relay, **login)
    below.wait_link(60)
    wait_for("all are known", lambda: _answering(relay) == 3, 60)
    environ = {**relay.environ(), "REPLTAP_UPSTREAM": relay.upstream_url}
    command = [sys.executable, "-m", "repltap", "check", "--sample-seconds", "0", "--json"]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    levels = [each["level"] for each in json.loads(done.stdout)["findings"]
              if each["check"] in ("sentinel", "reach", "role")]  # fmt: skip
    assert levels == ["ok"] * 5, done.stdout
    for sentinel in sentinels:
        sentinel.kill()
    wait_for("none answers", lambda: _answering(relay) == 0)
    load = Load(first, features=first.flavour.features)
    load.write(100)
    wait_same(first, second, below)
    for sentinel in sentinels:
        sentinel.restart()
    wait_for("all are back", lambda: _answering(relay) == 3, 60)
    wait_settled(sentinels, first, second, relay)
    first.kill()
    with watchful(sentinels):
        _follows(relay, second)
    wait_same(second, below)
    assert (second.syncs.full, below.full_syncs_received) == (0, 1)
    wait_for("nothing is held against it", lambda: _objection(relay) == "")
    shown = relay.status()["upstream"]["sentinel"]
    assert shown["switches"] == 1
    assert shown["told_by"]
    for sentinel in sentinels:
        sentinel.kill()
    relay.stop()
    relay.restart()
    _follows(relay, second)
    shown = relay.status()["upstream"]["sentinel"]
    assert (shown["last_known"], shown["told_by"]) == (f"127.0.0.1:{second.port}", [])
    Load(second, features=first.flavour.features).write(100)
    wait_same(second, below)
    for sentinel in sentinels:
        sentinel.restart()
    wait_for("their word", lambda: not relay.status()["upstream"]["sentinel"]["last_known"], 60)
    assert relay.status()["upstream"]["port"] == second.port
    assert (second.syncs.full, below.full_syncs_received) == (0, 1)


def test_names_that_sentinels_announce(lab: Lab) -> None:
    """The relay resolves them itself, for each connection.

    It asks as the user that docs/sentinel.md gives to it: nothing is denied to that.
    """
    first = lab.master("redis-7.0", "first")
    second = lab.server("redis-7.0", "second", upstream=first, replica_announce_ip="localhost")
    second.wait_link(60)
    (sentinel,) = lab.sentinels("redis-7.0", first, 1, quorum=1, host="localhost")
    word = secret("asks")
    (line,) = re.findall(r"^ACL SETUSER repltap .*$", DOCUMENT.read_text(), re.MULTILINE)
    sentinel.call(*line.replace("PASSWORD", word).split())
    relay = lab.relay(
        first,
        start=False,
        upstream_sentinel_username="repltap",
        upstream_sentinel_password=word,
    )
    relay.upstream_url = f"redis-sentinel://localhost:{sentinel.port}/{MASTER_NAME}"
    relay.start()
    below = lab.server("redis-7.0", "below", upstream=relay)
    below.wait_link(60)
    assert relay.status()["upstream"]["host"] == "localhost"
    wait_settled([sentinel], first, second, relay)
    wait_same(first, second, below)
    wait_for("it is listened to", lambda: _seen(relay)["listening"])
    assert (_seen(relay)["state"], _seen(relay)["epoch"]) == ("answering", 0)
    with sentinel.client() as client:
        client.call("AUTH", "repltap", word)
        for refused in (("SENTINEL", "RESET", "x"), ("SENTINEL", "CONFIG", "GET", "*"), ("INFO",)):
            with pytest.raises(hiredis.ReplyError, match="NOPERM"):
                client.call(*refused)
    assert sentinel.call("ACL", "LOG")  # what was denied is there
    sentinel.call("ACL", "LOG", "RESET")
    first.kill()
    with watchful([sentinel]):
        _follows(relay, second)
    assert relay.status()["upstream"]["host"] == "localhost"
    assert sentinel.call("ACL", "LOG") == []
    wait_same(second, below)
    assert below.full_syncs_received == 1


def test_two_deployments_that_know_one_relay_stay_two(lab: Lab) -> None:
    """Both call their master `mymaster`. A native replica there makes one deployment of them.

    Sentinels of the first know the relay still after it has moved to the second; they meet on it.
    """
    program = "redis-7.0"
    masters = [lab.master(program, f"master-{n}") for n in (1, 2)]
    relay = lab.relay(masters[0])
    relay.wait_link(60)
    # They take a relay that follows another master back after this long; not in this test.
    first = lab.sentinels(program, masters[0], failover_ms=300_000)
    for sentinel in first:
        wait_for("the relay is listed", lambda s=sentinel: _listed(s, relay.port), 60)  # type: ignore[misc]
    relay.follow(masters[1])
    _follows(relay, masters[1])
    second = lab.sentinels(program, masters[1], name="other", failover_ms=300_000)
    for sentinel in second:
        wait_for("it is listed there", lambda s=sentinel: _listed(s, relay.port), 60)  # type: ignore[misc]
    # Both are on the relay's channel, and each hears itself there. Listen as a sentinel of the
    # second deployment does, until each of the second has been heard a few times.
    mine = [sentinel.call("SENTINEL", "MYID") for sentinel in second]
    with relay.client() as ear:
        ear.call("SUBSCRIBE", "__sentinel__:hello")
        heard: list[bytes] = []
        wait_for(
            "hellos",
            lambda: (
                heard.append(ear.read()[2])
                or all(  # type: ignore[func-returns-value]
                    sum(each in hello for hello in heard) >= 3 for each in mine
                )
            ),
            60,
        )
    assert {hello.split(b",")[2] for hello in heard} <= set(mine)
    for sentinels, master in ((first, masters[0]), (second, masters[1])):
        for sentinel in sentinels:
            assert len(sentinel.others()) == 2
            assert sentinel.master_port() == master.port


def _seen(relay: Relay) -> dict[str, Any]:
    (seen,) = relay.status()["upstream"]["sentinel"]["sentinels"]
    return dict(seen)


def _objection(relay: Relay) -> object:
    return relay.status()["upstream"]["sentinel"]["objection"]


def _answering(relay: Relay) -> int:
    seen = relay.status()["upstream"]["sentinel"]["sentinels"]
    return sum(each["state"] == "answering" for each in seen)
