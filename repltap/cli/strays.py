"""Variables that look like an option and are none: a typo that would be passed over.

They are told, never refused, and only where one can say what was meant: Kubernetes sets
REPLTAP_PORT, REPLTAP_SERVICE_HOST and the like wherever a service is called repltap, and others
may have variables of their own that begin so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence

from repltap.access import NOBODY, Users
from repltap.delivery.options import COMMON
from repltap.delivery.registry import find_sink
from repltap.options import ENVIRONMENT_PREFIX, OPTIONS
from repltap.sink_config import VARIABLE as SINK_VARIABLE
from repltap.sink_config import SinkConfig
from repltap.sinkspec import sink_variable
from repltap.user_config import password_variable

_OTHERS = ("REPLTAP_CONFIG", SINK_VARIABLE, "REPLTAP_COMPILE", "REPLTAP_COMPILED")
_NEAR = 0.75
"""A word left out of two or three, or some letters: UPSTREAM_PASS is near, HTTP_PORT is not."""

_KUBERNETES = re.compile(
    r"REPLTAP_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP)(?:_\w+)?)?)"
)


def stray_variables(
    environ: Mapping[str, str], sinks: Sequence[SinkConfig], users: Users = NOBODY
) -> list[str]:
    """Find variables that look like options and are none.

    Args:
        environ: The environment.
        sinks, users: Those that there are.

    Returns:
        A sentence for each, in the order of their names; no value is in it.

    Raises:
        ConfigError: A sink is of a type that is not there.
    """
    known = {*_OTHERS, *(option.variable for option in OPTIONS)}
    for sink in sinks:
        for option in (*COMMON, *find_sink(sink.type, sink.origin).options):
            known.add(sink_variable(sink.name, option.name))
    for user in users.all:
        variable = password_variable(user.name)
        known |= {variable, f"{variable}_FILE"}
    strays = sorted(
        name
        for name in environ
        if name.startswith(ENVIRONMENT_PREFIX)
        and name not in known
        and not _KUBERNETES.fullmatch(name)
        and not name.startswith("REPLTAP_E2E_")
    )
    return [said for name in strays if (said := _said(name, known))]


def _said(name: str, known: Collection[str]) -> str:
    """Say what is wrong with a variable, "" for nothing that is sure."""
    # Without what all have in common, or all would be near.
    words = {each.removeprefix(ENVIRONMENT_PREFIX): each for each in sorted(known)}
    # What the few with a short name would be called: REPLTAP_STORE_DATA_DIR.
    words |= {f"{o.section}_{o.name}".upper(): o.variable for o in OPTIONS if o.short}
    word = name.removeprefix(ENVIRONMENT_PREFIX)
    near = difflib.get_close_matches(word, words, n=1, cutoff=_NEAR)
    if near:
        return f"{name} is set and is no option: did you mean {words[near[0]]}?"
    if name.startswith(f"{SINK_VARIABLE}_"):
        return f"{name} is set and is no setting of a configured sink"
    if name.startswith(f"{ENVIRONMENT_PREFIX}USER_"):
        return f"{name} is set and is no password of a user that the file declares"
    return ""
