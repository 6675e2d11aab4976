"""CPU seconds for reading an RDB and for turning it into other forms, against rdbtools.

The files are of Redis 6.2, the last that rdbtools reads. rdbtools stands where the other parts have
the chained server. One process on one core for each run, in turns; ours as Python, and compiled
where `make compiled` has built that.
"""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import rdbtools

from repltap.quoting import quoted
from repltap.rdb.keys import KeyWriter
from repltap.rdb.memory import MemoryReport
from repltap.rdb.reader import RdbReader
from repltap.rdb.write_json import JsonWriter
from repltap.rdb.write_resp import RespWriter
from tests.bench.report import Row
from tests.bench.stage import Plan
from tests.servers.find import flavours
from tests.servers.lab import laboratory

_ROOT = Path(__file__).parent.parent.parent
_TREES = {"repltap": _ROOT, "compiled": _ROOT / "build" / "compiled", "rdbtools": _ROOT}
_MAX_SHARE = 0.2  # of the CPU seconds of rdbtools
_FORMS = ("read", "JSON", "RESP", "keys", "memory")


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Have the files written, and read them with each, in turns."""
    if "redis-6.2" not in flavours():
        tell("no Redis 6.2 here: rdbtools reads no later files")
        return
    readers = [reader for reader, tree in _TREES.items() if tree.exists()]
    with TemporaryDirectory(prefix="repltap-") as directory:
        tell("writing files")
        files = write_files(Path(directory), plan.writes * 2 // 3)
        found: dict[tuple[str, str, str], list[float]] = {}
        for repeat in range(plan.repeats):
            for file in files:
                for form in _FORMS:
                    for reader in readers:
                        tell(f"{reader}, {file.stem} to {form}, {repeat + 1}")
                        seconds = _run(file, reader, form)
                        found.setdefault((file.stem, form, reader), []).append(seconds)
        for file in files:
            for form in _FORMS:
                for reader in readers[:-1]:
                    yield _row(file, form, reader, found)
    if "compiled" not in readers:
        tell("no compiled form: `make compiled` builds it")


def _row(file: Path, form: str, reader: str, found: dict[tuple[str, str, str], list[float]]) -> Row:
    ours, theirs = (median(found[file.stem, form, one]) for one in (reader, "rdbtools"))
    size = file.stat().st_size / 1e6
    kind = "compiled" if reader == "compiled" else "Python"
    return Row(
        group="An RDB; rdbtools instead of a chained server, CPU seconds",
        name=f"{file.stem}, {size:.0f} MB, {form}, {kind}: {size / ours:.0f} MB/s",
        unit="s",
        chained=theirs,
        relay=ours,
        max_ratio=_MAX_SHARE,
    )


def write_files(directory: Path, keys: int) -> list[Path]:
    """Let a server save strings of 64 bytes, and collections of every type."""
    found = []
    with laboratory() as lab:
        for name, compression in (("strings", "no"), ("collections", "yes")):
            server = lab.master("redis-6.2", name, rdbcompression=compression)
            with server.client() as client:
                count = keys if name == "strings" else keys // 50
                for start in range(0, count, 1000):
                    numbers = range(start, min(start + 1000, count))
                    if name == "strings":
                        client.pipeline(
                            [("SET", f"key:{n:012}", f"v{n * 7919:063}") for n in numbers]
                        )
                    else:
                        client.pipeline([command for n in numbers for command in _collections(n)])
                client.call("SAVE")
            found.append((server.directory / "dump.rdb").rename(directory / f"{name}.rdb"))
    return found


def _collections(number: int) -> Iterator[tuple[str | int, ...]]:
    count = 600 if number % 1000 == 0 else 15
    words = [f"member {number * part}" for part in range(count)]
    yield ("RPUSH", f"list:{number}", *words, *range(5))
    yield ("SADD", f"set:{number}", *words)
    yield ("SADD", f"integers:{number}", *range(number, number + count))
    yield ("HSET", f"hash:{number}", *(x for n, word in enumerate(words) for x in (n, word)))
    yield ("ZADD", f"zset:{number}", *(x for n, word in enumerate(words) for x in (n, word)))


def _run(file: Path, reader: str, form: str) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.rdb", str(file), reader, form]
    done = subprocess.run(command, cwd=_TREES[reader], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _with_rdbtools(path: Path, form: str) -> None:
    out = io.FileIO(os.devnull, "wb")
    make: dict[str, Callable[[], object]] = {
        "read": lambda: rdbtools.RdbCallback(None),
        "JSON": lambda: rdbtools.JSONCallback(out),
        "RESP": lambda: rdbtools.ProtocolCallback(out, string_escape="raw"),
        "keys": lambda: rdbtools.KeysOnlyCallback(out),
        "memory": lambda: rdbtools.MemoryCallback(rdbtools.PrintJustKeys(out), 64),
    }
    rdbtools.RdbParser(make[form]()).parse(str(path))


def _with_repltap(path: Path, form: str) -> None:
    with path.open("rb", buffering=0) as file, io.FileIO(os.devnull, "wb") as out:
        reader = RdbReader(file.read, values=form != "keys")
        if form == "read":
            for _ in reader:
                pass
        elif form == "memory":
            report = MemoryReport(20)
            for item in reader:
                for _ in report.add(item):
                    pass
        else:
            write = {"JSON": JsonWriter, "RESP": RespWriter, "keys": _key_writer}[form]().write
            for item in reader:
                out.write(write(item))


def _key_writer() -> KeyWriter:
    return KeyWriter(quoted)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("reader", type=click.Choice(tuple(_TREES)))
@click.argument("form", type=click.Choice(_FORMS))
def main(path: Path, reader: str, form: str) -> None:
    """Read a file, and print the CPU seconds that it took."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    gc.freeze()
    read = _with_rdbtools if reader == "rdbtools" else _with_repltap
    began = time.process_time()
    read(path, form)
    print(time.process_time() - began)


if __name__ == "__main__":
    main()
