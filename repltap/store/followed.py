"""The master that is followed instead of the configured one: `DATA/followed.json`.

Written when CONFIG REWRITE asks for it, which Sentinel does with each SLAVEOF, so that a relay that
was re-pointed starts where it was, as a replica does from its rewritten redis.conf. It counts only
beside the configuration that it was written under: an operator who changes `--upstream` has the
last word. With Sentinel it is the master that it named last, for a start while no sentinel answers;
`configured` are the sentinels and their name for it then.

    {"configured": "10.0.0.1:6379", "host": "10.0.0.2", "port": 6379, "at": 1790000000.0,
     "crc32c": 123}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from repltap.errors import CorruptStoreError
from repltap.store.metadata import (
    corrupt_metadata,
    fsync_dir,
    load_json,
    publish_json,
    storage_error,
)

_NAME = "followed.json"


@dataclass(frozen=True, slots=True)
class Followed:
    """What is kept.

    Attributes:
        configured: The master of the configuration then, `host:port`, or
            `host:port,host:port/name` for sentinels.
        host, port: Who is followed instead.
        at: When that was said, Unix seconds.
    """

    configured: str
    host: str
    port: int
    at: float


def load_followed(data_dir: Path) -> Followed | None:
    """Read what is kept; blocking.

    Returns:
        None when nothing is.

    Raises:
        CorruptStoreError: The file is damaged.
        StoreError: It could not be read.
    """
    path = data_dir / _NAME
    try:
        fields = load_json(path)
    except FileNotFoundError:
        return None
    except CorruptStoreError as failure:
        raise CorruptStoreError(
            failure.message, path=path, hint="remove it: the relay follows --upstream then"
        ) from failure
    configured, host, port, at = (fields.get(name) for name in ("configured", "host", "port", "at"))
    if (
        not isinstance(configured, str)
        or not isinstance(host, str)
        or not isinstance(port, int)
        or not isinstance(at, int | float)
        or not 0 < port <= 65535
    ):
        raise corrupt_metadata(path, "lacks a field")
    return Followed(configured, host, port, float(at))


def save_followed(data_dir: Path, followed: Followed | None) -> None:
    """Keep this, or nothing; blocking.

    Raises:
        StoreError: It could not be written.
    """
    path = data_dir / _NAME
    if followed is not None:
        publish_json(
            path,
            {
                "configured": followed.configured,
                "host": followed.host,
                "port": followed.port,
                "at": followed.at,
            },
        )
        return
    try:
        path.unlink(missing_ok=True)
        fsync_dir(data_dir)
    except OSError as exc:
        raise storage_error(exc, path) from exc
