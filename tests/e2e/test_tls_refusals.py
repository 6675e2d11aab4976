"""What an operator is told when TLS to a real master fails, by each command that connects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.certificates import Authority, Pair
from tests.servers.lab import Lab
from tests.servers.relay import REPOSITORY

pytestmark = pytest.mark.relay_only


def _ask(directory: Path, *words: str) -> tuple[int, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("REPLTAP_")}
    done = subprocess.run(
        [sys.executable, "-m", "repltap", *words],
        env=clean | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
    )
    return done.returncode, done.stdout + done.stderr


def _flags(pair: Pair, ca: Path | None = None) -> list[str]:
    """Say with redis-cli's flags what to show and whom to trust."""
    files = (pair.cert_file, pair.key_file, ca or pair.ca_file)
    return [f"--{name}={file}" for name, file in zip(("cert", "key", "cacert"), files, strict=True)]


@pytest.mark.parametrize("command", ["fetch", "check"])
def test_each_failure_has_its_sentence(lab: Lab, command: str) -> None:
    master = lab.master("redis-7.0", tls=True)
    expired = lab.master("redis-7.0", "expired", tls=lab.authority.issue(days=-1))
    pair, stranger = lab.authority.issue(), Authority(lab.directory / "stranger").issue()
    tls, plain = str(master.tls_port), str(master.port)
    quick = "--upstream-connect-timeout-seconds=0.5"
    cases = [
        ((tls, "--tls", f"--cacert={pair.ca_file}"), "asks for a client certificate"),
        ((tls, "--tls", *_flags(stranger, pair.ca_file)), "it does not know the CA"),
        ((tls, "--tls", *_flags(lab.authority.issue(days=-1))), "our certificate: it has expired"),
        ((tls, "--tls", *_flags(pair, stranger.ca_file)), "is not signed by a CA that"),
        ((tls, "--tls", *_flags(pair), "--sni=no.example"), "is not for no.example"),
        ((str(expired.tls_port), "--tls", *_flags(pair)), "the certificate of the master has exp"),
        ((plain, "--tls", *_flags(pair), quick), "no answer to the TLS handshake"),
        ((tls,), "tls-port"),
    ]
    if command == "check":  # it shares the sentences; what is its own is how it connects
        cases = [cases[0], cases[3], *cases[-2:]]
    start = ["snapshot", "fetch", "-o", "x.rdb"] if command == "fetch" else ["check", "--json"]
    for words, wanted in cases:
        code, said = _ask(lab.directory, *start, "-h", "127.0.0.1", "-p", *words)
        assert (code, wanted in said) == (1 if command == "fetch" else 7, True), (words, said)
    assert not (lab.directory / "x.rdb").exists()


def test_what_is_let_pass(lab: Lab) -> None:
    """A name that is not checked, a certificate of nobody we know, and all in order."""
    master = lab.master("redis-7.0", tls=lab.authority.issue("master.example"))
    pair = lab.authority.issue()
    start = ["snapshot", "fetch", "-h", "127.0.0.1", "-p", str(master.tls_port), "-o", "x.rdb"]
    own = _flags(pair)
    for words in (
        [*own, "--tls", "--sni=master.example"],
        [*own, "--tls", "--upstream-tls-verify=ca"],
        [*own[:2], "--tls", "--insecure"],
    ):
        code, said = _ask(lab.directory, *start, *words)
        assert code == 0, said
    url = f"rediss://127.0.0.1:{master.tls_port}"
    more = [word.replace("--cert", "--upstream-tls-cert-file") for word in own]
    more = [word.replace("--key", "--upstream-tls-key-file") for word in more]
    more = [word.replace("--cacert", "--upstream-tls-ca-cert-file") for word in more]
    code, said = _ask(lab.directory, "check", "--json", "--upstream", url, *more)
    reach = next(one for one in json.loads(said)["findings"] if one["check"] == "reach")
    assert "is not for 127.0.0.1" in reach["found"]
    code, said = _ask(lab.directory, "check", "--upstream", url, *more, "--sni=master.example")
    assert "answers" in said
