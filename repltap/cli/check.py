"""`repltap check`: is all as a relay needs it, before it is started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from repltap.cli.options import (
    config_file,
    from_redis_cli,
    json_flag,
    redis_cli_environment,
    redis_cli_flags,
)
from repltap.cli.output import busy, show_json
from repltap.cli.sections import Cell, Section, as_tables, as_text
from repltap.cli.table_command import TableCommand
from repltap.config import Config, UpstreamConfig, load
from repltap.config_sources import read_sources
from repltap.preflight.finding import Finding, Level

FAILED = 7
_TONES = {Level.OK: "good", Level.WARN: "warn", Level.FAIL: "bad", Level.UNKNOWN: ""}


@click.command(
    cls=TableCommand,
    epilog="The options by section are those of `repltap run`. Exit codes: 0 nothing failed; 7 "
    "something did, or with --strict there is a warning; 2 wrong usage or configuration.",
)
@redis_cli_flags
@click.option(
    "--sample-seconds",
    type=click.FloatRange(0, 3600),
    default=3.0,
    show_default=True,
    metavar="N",
    help="How long the master's writes are counted.",
)
@click.option("--strict", is_flag=True, help="Exit with 7 for warnings, too.")
@json_flag
@config_file
def check(
    file: Path | None, sample_seconds: float, strict: bool, as_json: bool, **flags: object
) -> int:
    """Look at a master and this machine before a relay starts.

    The master is asked whether it is there and lets the relay in (password, ACL, PSYNC), and what
    it is set to: backlog, output buffer, time-outs, against its dataset and its write rate. No full
    sync is started and nothing is changed. What its ACL does not let us see is `unknown`. Here the
    data directory, its room, and the addresses are looked at. Advice can be pasted into redis-cli;
    CONFIG REWRITE there makes it last.

    \b
    repltap check --upstream redis://127.0.0.1:6379 --data-dir ./data
    repltap check --config repltap.toml --json
    repltap check -h 10.0.0.1 -p 6379 --user relay --upstream-password-file ./password
    REDISCLI_AUTH=secret repltap check -h 10.0.0.1
    """
    environ = redis_cli_environment(flags, os.environ, file)
    config, has_data_dir = _load(from_redis_cli(flags), environ, file)
    findings = _look(config, sample_seconds, has_data_dir=has_data_dir)
    if as_json:
        show_json(_document(findings))
    else:
        _show(findings)
    levels = {finding.level for finding in findings}
    return FAILED if Level.FAIL in levels or (strict and Level.WARN in levels) else 0


def _load(
    flags: dict[str, object], environ: Mapping[str, str], file: Path | None
) -> tuple[Config, bool]:
    """Read the configuration; a data directory need not be given, to look at a master alone."""
    has_data_dir = "data_dir" in read_sources(flags, environ, file).values
    if not has_data_dir:
        flags = flags | {"data_dir": "."}
    return load(flags, environ, file), has_data_dir


def _look(config: Config, sample_seconds: float, *, has_data_dir: bool) -> list[Finding]:
    from repltap.preflight.access import check_access
    from repltap.preflight.certificates import check_certificates
    from repltap.preflight.judge import judge
    from repltap.preflight.local import check_addresses, check_announced, check_data_dir, is_in_use
    from repltap.preflight.probe import Probe
    from repltap.preflight.sentinels import find_master

    findings: list[Finding] = []
    upstream: UpstreamConfig | None = config.upstream
    if config.upstream.sentinel is not None:
        with busy("asking the sentinels"):
            findings, upstream = find_master(config.upstream)
    facts = None
    if upstream is not None:
        probe = Probe(upstream, sample_seconds)
        with busy(f"asking the master; its writes are counted for {sample_seconds:g} s"):
            facts = probe.run()
        findings += probe.findings
        if facts is not None:
            findings += judge(facts, upstream)
    if has_data_dir:
        findings += check_data_dir(config.store, facts.used_memory_bytes if facts else None)
    else:
        findings.append(Finding("data-dir", Level.UNKNOWN, "none is given", "give --data-dir"))
    starting = has_data_dir and not is_in_use(config.store)
    findings += check_addresses(config, starting=starting)
    findings += [check_announced(config), *check_access(config)]
    return findings + check_certificates(config)


def _count(findings: list[Finding]) -> dict[str, int]:
    return {level.value: sum(one.level is level for one in findings) for level in Level}


def _document(findings: list[Finding]) -> dict[str, object]:
    return {
        "summary": _count(findings),
        "findings": [
            {
                "check": one.check,
                "level": one.level.value,
                "found": one.found,
                "advice": one.advice,
            }
            for one in findings
        ],
    }


def _show(findings: list[Finding]) -> None:
    rows: list[tuple[Cell, ...]] = []
    said: set[str] = set()  # one grant helps many checks: once is enough
    for one in findings:
        level = Cell(one.level.value, _TONES[one.level])
        rows.append((level, Cell(one.check), Cell(one.found)))
        if one.advice and one.advice not in said:
            said.add(one.advice)
            rows.append((Cell(""), Cell(""), Cell(f"-> {one.advice}")))
    title = ", ".join(f"{count} {level}" for level, count in _count(findings).items())
    section = Section(title, ("", "check", "found"), tuple(rows), folded=frozenset({2}))
    console = Console()
    if console.is_terminal:
        console.print(as_tables([section]))
    else:
        click.echo(as_text([section]))
