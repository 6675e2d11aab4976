"""How the process logs: one handler on stderr, for people or as JSON lines.

Areas log through `logging.getLogger("repltap.<area>")`, wrapped in a `PeerLogger` where a line is
about one peer or one history. Nothing here knows what is logged; secrets never reach a logger.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from repltap.config import LogConfig

REPLID_SHOWN = 8
"""Characters of a replid on a human line: enough to tell histories apart; JSON has all forty."""


class PeerLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines say which peer and which history they are about.

    Attributes:
        peer: `host:port` of the other end, "" for none.
        replid: The history in question, "" for none; assign to it when it changes, or give what
            says it when it is asked.
    """

    def __init__(self, area: str, *, peer: str = "", replid: str | Callable[[], str] = "") -> None:
        """Wrap `repltap.<area>`."""
        super().__init__(logging.getLogger(f"repltap.{area}"), {})
        self.peer = peer
        self.replid = replid

    def process(
        self,
        msg: Any,  # Any: as the standard library declares it
        kwargs: MutableMapping[str, Any],
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Attach peer and replid to the record."""
        replid = self.replid if isinstance(self.replid, str) else self.replid()
        own = {"peer": self.peer, "replid": replid}
        kwargs["extra"] = own | dict(kwargs.get("extra") or {})
        return msg, kwargs


def history_log(replid: str) -> PeerLogger:
    """Give the logger of the journal, for a line about one history."""
    return PeerLogger("journal", replid=replid)


class HumanFormatter(logging.Formatter):
    """`2025-01-31 12:00:00.123 INFO  upstream 127.0.0.1:6379 [5f1c09ab] connected`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record; a traceback follows on lines of its own."""
        moment = datetime.fromtimestamp(record.created).astimezone()
        peer = getattr(record, "peer", "")
        replid = str(getattr(record, "replid", ""))[:REPLID_SHOWN]
        parts = [
            moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}",
            f"{record.levelname:<7}",
            record.name.removeprefix("repltap."),
        ]
        if peer:
            parts.append(str(peer))
        if replid:
            parts.append(f"[{replid}]")
        line = " ".join(parts) + " " + _one_line(record.getMessage())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and peer, replid, exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        fields: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("peer", "replid"):
            if value := getattr(record, name, ""):
                fields[name] = str(value)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(fields).decode()
        except TypeError:  # a lone surrogate, from a file name that is not UTF-8
            clean = {k: v.encode("utf-8", "replace").decode() for k, v in fields.items()}
            return orjson.dumps(clean).decode()


def setup(config: LogConfig, stream: TextIO | None = None) -> None:
    """Point all logging of this process to one stream; a second call replaces the first.

    Args:
        config: Level and form.
        stream: Where to; stderr if not given.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if config.json else HumanFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries (asyncio, aiohttp) speak up only when something is wrong.
    root.setLevel(logging.WARNING)
    logging.getLogger("repltap").setLevel(config.level.upper())
    logging.captureWarnings(capture=True)
    # A closed stderr must not cost a traceback a line.
    logging.raiseExceptions = False


def _one_line(message: str) -> str:
    """Keep what a peer sent from forging log lines or steering the terminal."""
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
