"""Which right a command asks for.

What is not listed is for administrators: a command that is new here is not open to all because
somebody forgot it. docs/access.md shows the same table; a test compares them.
"""

from __future__ import annotations

from types import MappingProxyType

from repltap.access import Right
from repltap.net.admin.command import Command

_OWN = """
    ping echo auth hello select reset quit time acl|whoami
    client|id client|info client|getname client|setname client|setinfo
    client|no-evict client|no-touch client|reply
    command command|count command|info command|docs command|list command|getkeys
    multi exec discard
"""
_STATUS = """
    info role lastsave client|list config|get wait waitaof
    slowlog|get slowlog|len latency|latest latency|history latency|histogram
    memory|stats memory|usage
    subscribe unsubscribe psubscribe punsubscribe pubsub|channels pubsub|numsub pubsub|numpat
"""
_REPLICATE = "psync sync replconf monitor"

RIGHTS = MappingProxyType(
    {
        **dict.fromkeys(_OWN.split(), None),
        **dict.fromkeys(_STATUS.split(), Right.STATUS),
        **dict.fromkeys(_REPLICATE.split(), Right.REPLICATE),
    }
)
"""By full name; None: whoever is logged in may."""


def right_of(command: Command) -> Right | None:
    """Tell what a command asks for; None for nothing but a login."""
    return RIGHTS.get(command.name, Right.ADMINISTER)
