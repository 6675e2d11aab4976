"""The `repltap` command: the group, and the one place where an error becomes a line and a code."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence

import click

from repltap.cli.check import check
from repltap.cli.completion import completion
from repltap.cli.config import config
from repltap.cli.demo import demo
from repltap.cli.human import printable
from repltap.cli.journal import journal
from repltap.cli.output import stdout_closed
from repltap.cli.run import run
from repltap.cli.sink import sink
from repltap.cli.sink_places import list_sinks, reset
from repltap.cli.sink_run import run as sink_run
from repltap.cli.sink_types import types as sink_types
from repltap.cli.snapshot import snapshot
from repltap.cli.snapshot_cat import cat
from repltap.cli.snapshot_memory import memory
from repltap.cli.status import status
from repltap.cli.top import top
from repltap.errors import ReplTapError
from repltap.version import VERSION, is_compiled

INTERRUPTED = 130  # 128 + SIGINT, as shells count


EXIT_CODES = """
\b
Exit codes:
  0  done; `run`: stopped as asked
  1  any other error
  2  wrong usage or configuration
  3  an address can't be listened on
  4  the data directory can't be used, is in use, or does not hold what was asked for
  5  stored data, or an RDB file, is damaged
  6  `status`, `top`: no relay was found
  7  `check`: something will not work
  130, 141, 143  ended by ctrl-C, a closed pipe, SIGTERM
"""


@click.group(
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    VERSION,
    prog_name="repltap",
    message=f"%(prog)s %(version)s (Python {platform.python_version()}, {sys.platform}, "
    f"decoder: {'compiled' if is_compiled() else 'Python'})",
)
def cli() -> None:
    """A replication relay and tap for Redis and Valkey."""


cli.add_command(run)
cli.add_command(check)
cli.add_command(config)
cli.add_command(status)
cli.add_command(top)
cli.add_command(journal)
cli.add_command(snapshot)
snapshot.add_command(cat)
snapshot.add_command(memory)
cli.add_command(sink)
sink.add_command(list_sinks)
sink.add_command(reset)
sink.add_command(sink_run)
sink.add_command(sink_types)
cli.add_command(demo)
cli.add_command(completion)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; the process's own if not given.

    Returns:
        The exit code: 0 for success, 2 for wrong usage or configuration, else as
        `repltap.errors` lists them.
    """
    try:
        code = cli.main(args=arguments, prog_name="repltap", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ReplTapError as exc:
        # Some of it may be what a peer has said.
        lines = map(printable, f"repltap: error: {exc}".split("\n"))
        click.echo("\n".join(lines), err=True)
        return exc.exit_code
    except BrokenPipeError:
        return stdout_closed()
    return code if isinstance(code, int) else 0
