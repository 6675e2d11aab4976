"""A worker that plays what its settings say: `python -m tests.delivery.actor NAME FD`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from repltap.delivery.control import RelayBell
from repltap.delivery.report import WorkerReport, WorkerState

MODULE = "tests.delivery.actor"


def main(name: str, fd: str) -> int:
    with socket.socket(fileno=int(fd)) as line:
        bell = RelayBell(line)
        start = bell.start()
        play = str(start.sink.settings["play"])
        assert start.sink.name == name
        report = WorkerReport(
            state=WorkerState.STREAMING,
            history_number=1,
            pin_offset=5,
            committed_offset=5,
            records=10,
            errors={"away": 1},
        )
        if play == "deaf":  # not even the end of the line ends it
            bell.report(report)
            time.sleep(3600)
        if play == "spawn":  # what it leaves behind holds its stderr
            left = subprocess.Popen(["sleep", "3600"])
            print(f"left {left.pid}", file=sys.stderr)
            bell.report(report)
            return 0
        if play == "leave":  # the same, out of its session
            left = subprocess.Popen(["sleep", "3600"], start_new_session=True)
            print(f"left {left.pid}", file=sys.stderr)
            bell.report(report)
            return 0
        if play == "rave":
            line.setblocking(True)
            line.sendall(b"hello\n")
            time.sleep(3600)
        if play == "print":
            print("plain text", file=sys.stderr)
            print('{"time":"x","level":"info","message":"told","replid":"abc"}', file=sys.stderr)
            print('{"time":"x","level":"info","message":"m","replid":"\\n"}', file=sys.stderr)
            print('{"time":"x","level":"info"}', file=sys.stderr)
            print("x" * 100_000, file=sys.stderr)
            print("line\n" * 1000 + "no end", end="", file=sys.stderr, flush=True)
        if play == "environment":
            print(" ".join(sorted(os.environ)), file=sys.stderr)
        bell.report(report)
        if play == "wish":
            bell.want_snapshot()
        if play == "crash":
            return 7
        if play == "signal":
            os.kill(os.getpid(), 9)
        while play in ("well", "wish") and not bell.stopping:
            bell.wait(0.5)
            bell.report(report)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
