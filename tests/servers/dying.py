"""`python -m tests.servers.dying STEP ...`: repltap, killed by itself when it comes to a step.

The steps are those in which a journal is cut and gets a new replid, in their order; `STEPS` names
them. It dies as by SIGKILL: nothing is flushed, nothing is closed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from repltap.cli.main import main
from repltap.net.upstream import UpstreamLink
from repltap.store import cutting, history
from repltap.store.history import HistoryStore
from repltap.store.journal import Journal
from repltap.store.snapshots import Snapshots

# Where, what is wrapped there, its name, and if it dies behind it instead of before.
_PLACES: dict[str, tuple[object, str, bool]] = {
    "granted": (HistoryStore, "shift", False),
    "planned": (cutting.Cut, "apply", False),
    "index cut": (cutting.os, "truncate", True),
    "cut": (Journal, "truncate", True),
    "snapshots gone": (Snapshots, "remove_above", True),
    "named": (history, "publish_json", True),
    "adopted": (UpstreamLink, "_came_up", True),
}
STEPS = tuple(_PLACES)


def die() -> None:
    """End as by SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(inner: Callable[..., Any], behind: bool) -> Callable[..., Any]:
    def step(*args: Any, **kwargs: Any) -> Any:
        if not behind:
            die()
        result = inner(*args, **kwargs)
        die()
        return result

    return step


if __name__ == "__main__":
    place, name, after = _PLACES[sys.argv.pop(1)]
    setattr(place, name, _dying(getattr(place, name), after))
    main()
