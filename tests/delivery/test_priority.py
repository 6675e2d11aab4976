"""A worker yields, and is not made to yield twice."""

import os
import subprocess

from repltap.delivery.priority import NICE, lower_priority


def test_another_process_is_put_behind() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            for _ in range(2):
                lower_priority(process.pid)
                assert os.getpriority(os.PRIO_PROCESS, process.pid) == max(NICE, os.nice(0))
            assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
            os.setpriority(os.PRIO_PROCESS, process.pid, 15)
            lower_priority(process.pid)
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == 15
        finally:
            process.kill()


def test_a_process_that_is_gone_is_no_error() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    lower_priority(process.pid)
