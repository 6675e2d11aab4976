"""Much data, quickly."""

from __future__ import annotations

import os

from tests.servers.node import Node


def write(node: Node, megabytes: int, keys: int = 32) -> None:
    """Write so much, in values of 64 KiB that don't compress, over and over to the same keys."""
    with node.client() as client:
        for number in range(megabytes * 16):
            client.call("SET", f"key:{number % keys}", os.urandom(32_768).hex())
