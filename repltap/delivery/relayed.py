"""A sink's worker as a relay starts it: `python -m repltap.delivery.relayed NAME FD`.

NAME is for people who look at the process list; FD is the line to the relay, where everything comes
from. It ends when the relay asks, when the relay is gone, and when the sink fails in a way that is
none of a target's: then the relay starts another.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from dataclasses import replace

from repltap import logs
from repltap.config import LogConfig
from repltap.delivery.control import RelayBell
from repltap.delivery.report import WorkerReport, WorkerState
from repltap.errors import DataDirInUseError, ReplTapError

_CRASHED = 1
_LOCK_SECONDS = 0.5
"""How often it is looked whether whoever delivers to the sink has ended: after a relay was killed,
its worker is still committing when the next relay starts another."""


def main(arguments: list[str]) -> int:
    """Run a worker.

    Args:
        arguments: The sink's name, and the number of the file descriptor.

    Returns:
        The exit code.
    """
    name, fd = arguments
    # The relay stops it in order; a signal to the whole group must not come in between.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(fd)) as line:
        os.set_inheritable(line.fileno(), False)
        bell = RelayBell(line)
        start = bell.start()
        logs.setup(LogConfig(level=start.log.level, json=True))
        log = logging.getLogger(f"repltap.sink.{name}")
        from repltap.delivery.worker import deliver, yield_to_others

        yield_to_others()
        waiting = False
        while not bell.stopping:
            try:
                deliver(
                    start.sink,
                    data_dir=start.data_dir,
                    source=start.source,
                    bell=bell,
                    environ=os.environ,
                )
            except DataDirInUseError as failure:
                if not waiting:
                    log.warning("%s; waiting until it has ended", failure)
                waiting = True
                _tell(bell, WorkerState.WAITING, failure)
                bell.wait(_LOCK_SECONDS)
            except ReplTapError as failure:
                log.error("%s", failure)
                _tell(bell, WorkerState.FAILED, failure)
                return failure.exit_code
            except Exception as failure:
                log.exception("the sink has crashed")
                _tell(bell, WorkerState.FAILED, failure)
                return _CRASHED
    return 0


def _tell(bell: RelayBell, state: WorkerState, failure: Exception) -> None:
    shown = str(failure) if isinstance(failure, ReplTapError) else f"crash: {failure!r}"
    said = bell.said or WorkerReport(state=state)
    bell.report(replace(said, state=state, last_error=shown, last_error_at=time.time()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
