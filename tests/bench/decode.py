"""SETs a second from a journal to a file, as JSON lines and as RESP, as Python and compiled.

One process on one core reads the journal with its checksums, decodes, and writes a file, as a sink
worker does. Its CPU seconds count: on a machine that others share, wall time says little.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click

from repltap.delivery._hot.json_lines import JsonLines
from repltap.delivery._hot.resp_form import RespForm
from repltap.delivery.commands import builtin_table
from repltap.delivery.stream import RecordStream, StreamState
from repltap.position import MAX_OFFSET
from repltap.store.reader import StoreReader
from repltap.version import is_compiled
from tests.bench.report import Row
from tests.bench.stage import Plan
from tests.stored import START, command, hold, open_store

_ROOT = Path(__file__).parent.parent.parent
_COMPILED = _ROOT / "build" / "compiled"
_READ_BYTES = 60_000  # about what the relay receives at once, and what an index record covers
_GOALS = {
    ("JSON lines", True): 350_000,
    ("RESP", True): 1_000_000,
    ("JSON lines", False): 175_000,
    ("RESP", False): 500_000,
}


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Write a journal, and let processes of either form turn it into files, in turns."""
    trees = [(False, _ROOT)]
    if _COMPILED.exists():
        trees.append((True, _COMPILED))
    with TemporaryDirectory(prefix="repltap-") as directory:
        path = Path(directory)
        tell("writing a journal")
        write_journal(path / "data", plan.writes)
        found: dict[tuple[str, bool], list[float]] = {}
        for repeat in range(plan.repeats):
            for compiled, tree in trees:
                for form in ("JSON lines", "RESP"):
                    tell(f"{form}, {'compiled' if compiled else 'Python'}, {repeat + 1}")
                    seconds = _run(tree, path, form, compiled=compiled)
                    found.setdefault((form, compiled), []).append(plan.writes / seconds)
    for (form, compiled), rates in found.items():
        yield Row(
            group=f"{plan.writes:,} SETs of 64 bytes, from the journal to a file, one core",
            name=f"{form}, {'compiled' if compiled else 'Python'}",
            unit="SETs per CPU second",
            relay=median(rates),
            min_value=_GOALS[form, compiled],
        )
    if len(trees) == 1:
        tell("no compiled form: `make compiled` builds it")


def write_journal(path: Path, writes: int) -> None:
    """Store a history of SETs of 64 bytes under keys of 16."""
    with closing(open_store(path, segment_bytes=64 << 20)) as store:
        history = hold(store, command(b"SELECT", b"0"))
        rest = b""
        for number in range(writes):
            rest += command(b"SET", b"key:%012d" % (number * 7919 % 10**6), b"x" * 64)
            if len(rest) >= _READ_BYTES:
                history.journal.append(rest[:_READ_BYTES], number + 2)
                rest = rest[_READ_BYTES:]
        history.journal.append(rest, writes + 2)


def _run(tree: Path, path: Path, form: str, *, compiled: bool) -> float:
    command = [sys.executable, "-m", "tests.bench.decode", str(path / "data"), str(path / form)]
    done = subprocess.run([*command, form], cwd=tree, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["compiled"] is compiled, said
    return float(said["cpu_seconds"])


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.argument("form", type=click.Choice(["JSON lines", "RESP"]))
def main(data_dir: Path, output: Path, form: str) -> None:
    """Turn the journal into a file, and print what that took."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # What a record is made of can't refer to itself: looking for that takes a fifth of the time.
    gc.freeze()
    gc.set_threshold(100_000)
    history = StoreReader(data_dir).history(None)
    journal = history.journal()
    replid = history.metadata.history.replid
    stream = RecordStream(StreamState(START, 0), builtin_table(), source="master")
    lines, resp = JsonLines(), RespForm()
    records_total, began, wall = 0, time.process_time(), time.monotonic()
    with open(output, "wb") as file:
        for block in journal.blocks(journal.start, MAX_OFFSET):
            records = stream.feed(block.data, replid, block.time_ns // 10**6)
            records_total += len(records)
            if form == "RESP":
                file.write(resp.write(records, *stream.window))
            else:
                file.write(lines.write(records))
    said = {
        "compiled": is_compiled(),
        "cpu_seconds": time.process_time() - began,
        "wall_seconds": time.monotonic() - wall,
        "records": records_total,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
