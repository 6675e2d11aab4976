"""The status page in a real browser, of a real relay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers.browser import Browser
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.raw import RawReplica
from tests.servers.relay import Relay
from tests.servers.sentinel import MASTER_NAME
from tests.servers.server import QUIET
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"
PROMISED_ANSWERS = 2
"""How soon the page shows that a replica is gone: it asks each second, and once at a time. What it
asked before the relay knew may be answered first."""

_CARDS = """Object.fromEntries([...document.querySelectorAll('.card')].map((card) => [
  card.parentNode.id + '/' + card.dataset.key, {
    level: card.dataset.level, name: card.querySelector('.name').innerText,
    state: card.querySelector('.badge').innerText, sub: card.querySelector('.sub').innerText,
    note: card.querySelector('.note').innerText, fields: Object.fromEntries(
      [...card.querySelectorAll('[data-field]')].map((one) => [one.dataset.field, one.innerText]))
  }]))"""

_CONTRASTS = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= .04045 ? c / 12.92
    : ((c + .055) / 1.055) ** 2.4).reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const below = (node) => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll('body *:not(script):not(style):not(svg *)')) {
    if (!node.checkVisibility() || ![...node.childNodes].some((each) => each.nodeType === 3
      && each.textContent.trim())) continue;
    const [a, b] = [light(numbers(getComputedStyle(node).color)), light(below(node))];
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), node.innerText]);
  }
  return found.sort((one, other) => one[0] - other[0]);
})()"""


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """Give a tab that has seen nothing yet; afterwards it must have nothing to complain of."""
    one_browser.look(1280, 900)
    one_browser.open("about:blank")
    one_browser.console.clear()
    one_browser.requests.clear()
    yield one_browser
    one_browser.run("1")  # takes in what it has still to say
    complaints, requests = list(one_browser.console), set(one_browser.requests)
    one_browser.open("about:blank")
    assert complaints == []
    assert {url.split("/")[2].split(":")[0] for url in requests if "//" in url} <= {"127.0.0.1"}


def show(browser: Browser, relay: Relay) -> None:
    """Open the page and wait for its first picture."""
    browser.open(f"http://127.0.0.1:{relay.http_port}/")
    browser.wait("the first answer", "document.querySelectorAll('.card').length >= 2")


def cards(browser: Browser) -> dict[str, dict[str, Any]]:
    found = browser.run(_CARDS)
    assert isinstance(found, dict)
    return found


def level(browser: Browser, card: str) -> str:
    return str(cards(browser).get(card, {}).get("level"))


def size(count: int) -> str:
    """Write a size as the page does."""
    value, unit = float(count), 0
    while value >= 1024:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {('B', 'KiB', 'MiB', 'GiB')[unit]}"


def expected(status: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, str]]]:
    """Say what the page must show: state, small print and fields of each card."""
    upstream, journal = status["upstream"], status["journal"]
    wanted = {
        "master/master": (
            "connected",
            f"version {upstream['server_version']}",
            {
                "acked_offset": f"{upstream['acked_offset']:,}",
                "connects": f"{upstream['connects']} time",
                "lag": f"{size(upstream['lag_bytes'])} · {upstream['lag_seconds']:.1f} s",
            },
        ),
        "relay/relay": (
            "serving",
            "",
            {
                "end_offset": f"{journal['end_offset']:,}",
                "replid": f"{journal['replid'][:12]}…",
                "retained_bytes": f"{size(journal['retained_bytes'])} held",
                "not_durable_bytes": size(journal["not_durable_bytes"]),
            },
        ),
    }
    for each in status["replicas"]:
        version = f"version {each['version']} · " if each["version"] else ""
        lag = f"{size(each['lag_bytes'])} · {each['lag_seconds']:.1f} s"
        key = f"replicas/{each['ip']}:{each['port']}"
        wanted[key] = ("online", f"{version}from {each['address']}", {"lag": lag})
    for each in status["sinks"]:
        lag = f"{size(each['lag_bytes'])} · {each['lag_seconds']:.1f} s"
        small = f"{each['type']} · {each['records']:,} records"
        wanted[f"sinks/{each['name']}"] = ("streaming", small, {"lag": lag})
    return wanted


def different(shown: dict[str, dict[str, Any]], status: dict[str, Any]) -> list[object]:
    """Compare what is shown with what must be: nothing when it is the same."""
    lags = [status["upstream"], *status["replicas"], *status["sinks"]]
    if any(each["lag_bytes"] != 0 for each in lags):
        return ["there is lag", lags]
    wanted = expected(status)
    found: list[object] = [shown.keys() ^ wanted.keys()] if shown.keys() != wanted.keys() else []
    for key in shown.keys() & wanted.keys():
        fields = wanted[key][2]
        card = shown[key]
        there = (card["state"], card["sub"], {name: card["fields"].get(name) for name in fields})
        if there != wanted[key]:
            found.append((key, there, wanted[key]))
    return found


def test_values_are_those_of_the_api(lab: Lab, browser: Browser) -> None:
    master = lab.master(PROGRAM, **QUIET)  # no offset moves while page and API are compared
    load = Load(master, features=master.flavour.features)
    sink = f"file:{lab.directory}/audit.jsonl,sink=audit"
    relay = lab.relay(master, sink=sink, upstream_poll_seconds="0.5")
    relay.wait_link()
    replicas = [lab.server(kind, upstream=relay) for kind in (PROGRAM, "valkey-8.1")]
    for replica in replicas:
        replica.wait_link()
    show(browser, relay)
    load.write(300)

    differences: list[object] = []

    def same() -> bool:
        differences[:] = different(cards(browser), relay.status())
        return not differences

    try:
        wait_for("the page shows what the API says", same)
    except AssertionError:
        assert differences == []
    assert len(cards(browser)) == 5
    wait_for("all is well", lambda: browser.text("#overall") == "All is well")
    rate = "document.querySelector('#master [data-field=in_rate]').innerText"
    with load:
        browser.wait("traffic", rate, lambda text: text not in ("–", "0 B/s"))
    assert browser.run("document.querySelectorAll('#wires .wire').length") == 4


def test_sentinels_are_in_the_masters_card(lab: Lab, browser: Browser) -> None:
    """Who names the master; all away; away at a start."""
    master = lab.master(PROGRAM)
    (sentinel,) = lab.sentinels(PROGRAM, master, 1, quorum=1)
    relay = lab.relay(master, start=False)
    relay.upstream_url = f"redis-sentinel://127.0.0.1:{sentinel.port}/{MASTER_NAME}"
    relay.start()
    relay.wait_link()
    show(browser, relay)

    def shown() -> tuple[str, str, str, str]:
        card = cards(browser)["master/master"]
        fields = card["fields"]
        return card["level"], card["note"], fields["sentinel"], fields["named_by"]

    name, asked = MASTER_NAME, f"127.0.0.1:{sentinel.port}"
    well = ("ok", "", f"{name}: 1 of 1 answer", asked)
    wait_for("who names it", lambda: shown() == well)
    assert cards(browser)["master/master"]["name"] == name
    sentinel.kill()
    away = "No sentinel answers. A failover would not be noticed."
    wait_for("it is away", lambda: shown() == ("warn", away, f"{name}: 0 of 1 answer", asked))
    browser.open("about:blank")  # the page would complain of a relay that is gone
    relay.stop()
    relay.restart()
    relay.wait_link()
    show(browser, relay)
    away = "No sentinel answers. This is the last known master."
    wait_for("without it", lambda: shown() == ("warn", away, f"{name}: 0 of 1 answer", "–"))
    sentinel.restart()
    wait_for("it is back", lambda: shown() == well)


def test_a_killed_replica_turns_red(lab: Lab, browser: Browser) -> None:
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    relay.wait_link()
    replica = lab.server(PROGRAM, "replica", upstream=relay)
    replica.wait_link()
    show(browser, relay)
    card = f"replicas/127.0.0.1:{replica.port}"
    wait_for("the replica is shown", lambda: level(browser, card) == "ok")
    browser.run("""new MutationObserver((_, me) => {
        if (!document.querySelector('#replicas .card[data-level=bad]')) return;
        window.redAt = Number(document.documentElement.dataset.answers);
        me.disconnect();
      }).observe(document.body, { subtree: true, attributes: true, childList: true }); 0""")
    replica.kill()
    wait_for("the relay knows", lambda: relay.status()["recent_disconnects"])
    answered = browser.run("Number(document.documentElement.dataset.answers)")
    assert browser.run("POLL_MS") == 1000
    browser.wait("red", "window.redAt")
    assert browser.run("window.redAt") <= answered + PROMISED_ANSWERS
    shown = cards(browser)[card]
    assert shown["state"] == "disconnected"
    assert "closed" in shown["note"] or "connection" in shown["note"]
    assert browser.run("document.querySelectorAll('#wires .wire.bad').length") == 1
    assert browser.run("document.title").startswith("✕")
    browser.wait("the event", "document.querySelectorAll('#events [data-kind=disconnect]').length")
    replica.start()
    wait_for("it is back", lambda: level(browser, card) == "ok")
    assert browser.text("#replicas-title") == "Replicas: 1 connected"
    wait_for("all is well", lambda: browser.text("#overall") == "All is well")


def test_a_relay_that_goes_away_and_comes_back(lab: Lab, browser: Browser) -> None:
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    relay.wait_link()
    show(browser, relay)
    browser.wait("events", "document.querySelectorAll('#events [data-kind=start]').length === 1")
    relay.kill()
    browser.wait("it is said", "!document.getElementById('away').hidden")
    assert browser.text("#overall") == "The relay does not answer"
    relay.start()
    browser.wait("it is back", "document.getElementById('away').hidden")
    browser.wait("events", "document.querySelectorAll('#events [data-kind=start]').length === 2")
    wait_for("all is well", lambda: browser.text("#overall") == "All is well")
    browser.run("1")
    # That nobody answered is what the browser itself has to say, and nothing else.
    assert browser.console
    assert all("net::ERR_" in line for line in browser.console), browser.console
    browser.console.clear()


def test_a_name_is_a_name(lab: Lab, browser: Browser) -> None:
    """A client may announce any address; it must stay text."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master, upstream_name="<b>orders</b>")
    relay.wait_link()
    name = b"<img/src=x/onerror=window.hit=1>"
    with RawReplica(relay.port) as client:
        client.send(b"REPLCONF listening-port 7\r\nREPLCONF ip-address %s\r\nPSYNC ? -1\r\n" % name)
        assert client.line() == b"+OK"
        assert client.line() == b"+OK"
        show(browser, relay)
        card = f"replicas/{name.decode()}:7"
        wait_for("it is shown", lambda: card in cards(browser))
        browser.wait(
            "its event", "document.querySelector('#events').innerText", lambda t: name.decode() in t
        )
    assert browser.text("#source") == "<b>orders</b>"
    assert browser.run("document.querySelectorAll('img').length + (window.hit || 0)") == 0


def attach(relay: Relay, name: bytes) -> tuple[RawReplica, bytes]:
    """Follow the relay as far as a replica's first ACK; returns that, too."""
    replica = RawReplica(relay.port)
    replica.send(b"REPLCONF ip-address %s listening-port 7\r\nPSYNC ? -1\r\n" % name)
    assert replica.line() == b"+OK"
    offset = replica.line().split()[2]
    replica.read(int(replica.line()[1:]))
    acknowledgement = b"REPLCONF ACK %s\r\n" % offset
    replica.send(acknowledgement)
    return replica, acknowledgement


def test_of_many_replicas_those_in_trouble_come_first(lab: Lab, browser: Browser) -> None:
    master = lab.master(PROGRAM, **QUIET)  # they acknowledge one offset, again and again
    relay = lab.relay(master)
    relay.wait_link()
    with ExitStack() as stack:
        names = [*(b"fd00::%02d" % number for number in range(40)), b"the-last"]
        replicas = [attach(relay, name) for name in names]
        for replica, _ in replicas:
            stack.enter_context(replica)
        show(browser, relay)
        title = "document.querySelector('#replicas-title').innerText"
        first = "document.querySelector('#replicas .name').innerText"
        well = "and 5 more, all well"

        def all_are_well() -> bool:
            for replica, acknowledgement in replicas:  # who is silent for 5 s is not
                replica.send(acknowledgement)
            levels = {one["level"] for key, one in cards(browser).items() if "replicas/" in key}
            return levels == {"ok"} and browser.text("#replicas .empty").startswith(well)

        browser.wait("all of them", title, lambda text: text == "Replicas: 41 connected")
        wait_for("all are well", all_are_well)
        assert browser.run(first) == "[fd00::00]:7"
        replicas[-1][0].socket.close()
        browser.wait("who is gone, first", first, lambda name: name == "the-last:7")
        assert browser.run("document.querySelectorAll('#replicas .card').length") == 36


def test_progress_of_a_snapshot(lab: Lab, browser: Browser) -> None:
    master = lab.master(PROGRAM)
    with master.client() as client:
        for number in range(40):
            client.call("SET", f"key:{number}", os.urandom(50_000))  # can't be compressed
    # It takes longer than any browser to look at it.
    relay = lab.relay(master, listen_transfer_rate_bytes="20kb")
    relay.wait_link()
    show(browser, relay)
    lab.server(PROGRAM, "replica", upstream=relay)
    bar = "document.querySelector('#replicas .progress:not([hidden]) [role=progressbar]')"
    browser.wait("progress", f"Number({bar}?.getAttribute('aria-valuenow')) > 0")
    assert "Snapshot: " in browser.text("#replicas .progress")
    wait_for("a full sync is said", lambda: "full sync" in browser.text("#replicas .badge"))


@pytest.mark.parametrize(
    ("width", "height", "dark", "phone"),
    [(1280, 900, False, False), (1280, 900, True, False), (390, 844, True, True)],
    ids=["light", "dark", "phone"],
)
def test_it_can_be_read(
    lab: Lab, browser: Browser, tmp_path: Path, width: int, height: int, dark: bool, phone: bool
) -> None:
    """In light, dark and small: nothing beside the screen, and contrast as WCAG AA wants it."""
    master = lab.master(PROGRAM)
    relay = lab.relay(master, sink=f"file:{lab.directory}/none/x,sink=broken")
    relay.wait_link()
    replicas = [lab.server(PROGRAM, f"replica-{n}", upstream=relay) for n in range(2)]
    for replica in replicas:
        replica.wait_link()
    wait_for(
        "both have acknowledged",
        lambda: [r["acked_offset"] is None for r in relay.status()["replicas"]] == [False, False],
    )
    replicas[0].kill()
    browser.look(width, height, dark=dark, phone=phone)
    show(browser, relay)
    levels = "[...new Set([...document.querySelectorAll('.card')].map((c) => c.dataset.level))]"
    browser.wait("all states", levels, lambda seen: {"ok", "warn", "bad"} <= set(seen))
    browser.picture(tmp_path / "page.png")
    assert browser.run("document.documentElement.scrollWidth") <= width
    contrasts = browser.run(_CONTRASTS)
    assert len(contrasts) > 30
    assert contrasts[0][0] >= 4.5, contrasts[:3]
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(14, 18, 23)" if dark else "rgb(245, 244, 240)")
    # A state is a word and a shape, not only a colour.
    assert browser.run(
        "[...document.querySelectorAll('.badge')].every((b) => b.innerText && b.firstChild.tagName)"
    )
