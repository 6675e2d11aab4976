"""What docs/sinks.md shows, with a real master and a relay: pasted, it does what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_file_sink import assert_same, comparable, executed
from tests.e2e.test_records import Capture
from tests.servers.lab import Lab
from tests.servers.load import Load
from tests.servers.ports import free_port
from tests.servers.relay import REPOSITORY
from tests.servers.secrets import secret
from tests.servers.waiting import wait_for
from tests.sinks.sample import PAGE, Endpoint, sample

pytestmark = pytest.mark.relay_only

PROGRAM = "redis-7.0"


def test_the_first_lines(lab: Lab) -> None:
    """In a shell, but for the port of the master."""
    cli = shutil.which("redis-cli")
    if cli is None:
        pytest.skip("redis-cli is absent")
    master = lab.master(PROGRAM)
    match = re.search(r"```\n(repltap run .*?)```", PAGE, re.DOTALL)
    assert match is not None
    script = match[1].replace("6379", str(master.port)).replace("redis-cli", cli)
    port = free_port()
    script = script.replace("--data-dir", f"--listen 127.0.0.1:{port} --data-dir")
    script = script.replace("-p 6380", f"-p {port}")
    directory = lab.directory / "shell"
    directory.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", f"{script}\nkill %1; wait"],
        cwd=directory,
        env={**os.environ, "PATH": path},
        capture_output=True,
        timeout=60,
        check=True,
    )
    record = json.loads(done.stdout.splitlines()[-1])
    shown = re.search(r'```json\n(\{"v":1.*?)\n```', PAGE)
    assert shown is not None
    assert list(record) == list(json.loads(shown[1]))
    assert (record["cmd"], record["args"], record["keys"]) == ("SET", ["hello", "world"], ["hello"])


def test_records_on_the_relays_standard_output(lab: Lab) -> None:
    master = lab.master(PROGRAM)
    relay = lab.relay(master, sink="stdout:text")
    relay.wait_link()
    master.call("SET", "hello", "a b\n")
    wait_for("it is printed", lambda: '"SET" "hello" "a b\\n"\n' in relay.log)


def test_head_ends_a_worker_that_prints(lab: Lab) -> None:
    master = lab.master(PROGRAM)
    relay = lab.relay(master)
    relay.wait_link()
    with master.client() as client:
        client.pipeline([("SET", "k", f"{n:0100}") for n in range(5000)])
    wait_for("the relay has all", lambda: relay.offset >= master.offset)
    run = f"{sys.executable} -m repltap sink run stdout --sink stdout:text --data-dir"
    done = subprocess.run(
        ["bash", "-c", f"{run} {relay.data_dir} | head -n 2; exit ${{PIPESTATUS[0]}}"],
        env=dict(relay.environ()),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 141
    assert done.stdout.count(b'"SET" "k" "00') == 2
    assert b"Traceback" not in done.stderr


def test_the_sample_in_a_relay(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the master executes is posted; the endpoint is away in between."""
    modules = lab.directory / "modules"
    modules.mkdir()
    (modules / "http_sink.py").write_text(sample())
    monkeypatch.setenv("PYTHONPATH", str(modules))
    master = lab.master(PROGRAM, repl_timeout=3600)
    config = lab.directory / "repltap.toml"
    (lab.directory / "token").write_text(secret() + "\n")
    with Endpoint() as endpoint, Capture(master) as capture:
        config.write_text(
            '[sink.web]\ntype = "http_sink:HttpSink"\ncommit_seconds = 0.05\n'
            f'url = "{endpoint.url}"\ntoken_file = "{lab.directory / "token"}"\n'
        )
        relay = lab.relay(master, config=str(config))
        relay.wait_link()
        start = relay.status()["journal"]["first_offset"]
        Load(master, seed=1).write(100)
        wait_for("something was posted", lambda: endpoint.lines)
        endpoint.answer = 503
        Load(master, seed=2).write(100)
        wait_for("it says so", lambda: "answers 503" in relay.log)
        endpoint.answer = 200
        master.call("SET", "the", "end")
        end = master.offset
        capture.read(end)
        expected = executed(capture, start)
        last = expected[-1]["id"].encode()
        wait_for("all was posted", lambda: any(last in line for line in list(endpoint.lines)))
        found = [comparable(json.loads(line)) for line in endpoint.lines]
    firsts = {record["id"]: record for record in reversed(found)}
    found = list({record["id"]: firsts[record["id"]] for record in found}.values())
    upto = [record["id"] for record in found].index(expected[-1]["id"]) + 1
    assert_same(found[:upto], expected)
    assert endpoint.headers["Authorization"] == f"Bearer {secret()}"


def test_the_paths_of_the_page_are_there() -> None:
    for target in re.findall(r"\]\(([^#)]+)\)", PAGE):
        assert (REPOSITORY / "docs" / target).exists(), target
    for path in re.findall(r"`(tests/\S+)`", PAGE):
        assert Path(REPOSITORY / path).exists(), path
