"""What relay and worker say to each other: JSON, one object a line, over a socket pair.

    relay to worker    {"do":"start",...}  first, once; {"do":"grew"}; {"do":"stop"}
    worker to relay    {"say":"report",...}  {"say":"wait"}  {"say":"want_snapshot"}

A worker is told that the journal has grown once for each `wait`, not once for each append. Neither
end believes the other: a line that is longer than its bound, or no message, is a `MessageError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from repltap.config import LogConfig, SinkConfig
from repltap.delivery.report import WorkerReport, WorkerState
from repltap.sink import Sample, SinkErrorKind

MAX_LINE_BYTES = 1 << 20
"""A report with all samples that a sink may have is half of that."""

MAX_SAMPLES = 2000
_SAMPLES_BYTES = MAX_LINE_BYTES // 2
_MAX_NUMBER = (1 << 63) - 1
_MAX_ERROR_CHARACTERS = 1000
_MAX_HELP_CHARACTERS = 300
_MAX_LABELS = 8
_MAX_LABEL_CHARACTERS = 200

GREW = b'{"do":"grew"}\n'
STOP = b'{"do":"stop"}\n'
WAIT = b'{"say":"wait"}\n'
WANT_SNAPSHOT = b'{"say":"want_snapshot"}\n'

_METRIC = re.compile(r"[a-z][a-z0-9_]{0,99}")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,99}")
_COUNTS = ("records", "sent_bytes", "commits", "retries", "discarded", "discarded_unintentional")
_OPTIONAL_COUNTS = (
    "history_number",
    "committed_offset",
    "delivered_offset",
    "pin_offset",
    "snapshot_offset",
    "snapshot_records",
)
_OPTIONAL_TIMES = ("last_error_at", "next_try_at")
_MANY = "several"  # a setting that was given more than once is a tuple, which JSON has not


class MessageError(ValueError):
    """The other end said something that is no message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a worker is told first. It is on no command line: settings hold secrets.

    Attributes:
        data_dir: Where the store is.
        source: What records call the upstream.
        sink: What it delivers to.
        log: How much it logs.
    """

    data_dir: Path
    source: str
    sink: SinkConfig
    log: LogConfig

    def as_line(self) -> bytes:
        """Give it as a line."""
        sink = self.sink
        settings = {
            name: {_MANY: list(value)} if isinstance(value, tuple) else value
            for name, value in sink.settings.items()
        }
        fields: dict[str, object] = {
            "do": "start",
            "data_dir": str(self.data_dir.absolute()),
            "source": self.source,
            "sink": {"name": sink.name, "type": sink.type, "origin": sink.origin},
            "settings": settings,
            "log": {"level": self.log.level, "json": self.log.json},
        }
        # Not orjson: what was on a command line may be no UTF-8.
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_fields(cls, said: Mapping[str, Any]) -> Start:
        """Read what `as_line` gave.

        Raises:
            MessageError: It is something else.
        """
        try:
            settings = {
                name: tuple(value[_MANY]) if isinstance(value, dict) else value
                for name, value in said["settings"].items()
            }
            return cls(
                data_dir=Path(said["data_dir"]),
                source=said["source"],
                sink=SinkConfig(settings=settings, **said["sink"]),
                log=LogConfig(**said["log"]),
            )
        except (KeyError, TypeError, AttributeError) as exc:
            raise MessageError(f"no start message: {exc}") from exc


class Lines:
    """Cuts what arrives into messages.

    Attributes:
        kind: The field that says what a message is.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rest = bytearray()

    def receive(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Give the messages that are complete now.

        Raises:
            MessageError: A line is too long, or no message.
        """
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        if max(map(len, (*lines, rest))) > MAX_LINE_BYTES:
            raise MessageError(f"a line of more than {MAX_LINE_BYTES} bytes")
        self._rest = rest
        for line in lines:
            try:
                # The start message may hold what orjson takes for no text.
                message = orjson.loads(line) if self.kind == "say" else json.loads(line)
            except (ValueError, RecursionError) as exc:
                raise MessageError("a line that is no JSON") from exc
            if not isinstance(message, dict) or not isinstance(message.get(self.kind), str):
                raise MessageError("a line that is no message")
            yield message


def report_line(report: WorkerReport) -> bytes:
    """Write a report. What does not fit, and samples that are none, are left out."""
    said: dict[str, object] = {each.name: getattr(report, each.name) for each in fields(report)}
    said["say"] = "report"
    said["state"] = report.state.value
    said["errors"] = dict(report.errors)
    said["last_error"] = _clean(report.last_error, _MAX_ERROR_CHARACTERS)
    said["samples"] = list(_sample_groups(report.samples))
    return orjson.dumps(said) + b"\n"


def read_report(said: Mapping[str, Any]) -> WorkerReport:
    """Read a report.

    Raises:
        MessageError: It is none.
    """
    try:
        report = WorkerReport(
            state=WorkerState(said["state"]),
            commit_seconds=_time(said["commit_seconds"]) or 0.0,
            errors={
                SinkErrorKind(kind).value: _count(count) for kind, count in said["errors"].items()
            },
            last_error=_clean(str(said["last_error"]), _MAX_ERROR_CHARACTERS),
            exactly_once=said["exactly_once"] is True,
            samples=tuple(_samples(said["samples"])),
            **_numbers(said),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise MessageError(f"a report that is none: {exc}") from exc
    return report


def usable(sample: Sample) -> bool:
    """Tell whether a sample can be exported as it is."""
    return (
        _METRIC.fullmatch(sample.name) is not None
        and len(sample.labels) <= _MAX_LABELS
        and all(_LABEL.fullmatch(label) for label in sample.labels)
    )


def _sample_groups(samples: Iterable[Sample]) -> Iterator[list[object]]:
    """Write samples, the help once for each name."""
    groups: dict[str, list[Any]] = {}
    left = _SAMPLES_BYTES
    for number, sample in enumerate(samples):
        labels = {
            name: _clean(value, _MAX_LABEL_CHARACTERS) for name, value in sample.labels.items()
        }
        # In JSON a character may take six bytes.
        left -= 60 + 6 * sum(len(name) + len(value) for name, value in labels.items())
        if number >= MAX_SAMPLES or left < 0:
            break
        if not usable(sample):
            continue
        group = groups.get(sample.name)
        if group is None:
            shown = _clean(sample.help, _MAX_HELP_CHARACTERS)
            left -= 6 * len(shown)
            group = groups[sample.name] = [sample.name, shown, []]
        group[2].append([labels, float(sample.value)])
    yield from groups.values()


def _samples(groups: Iterable[Any]) -> Iterator[Sample]:
    left = MAX_SAMPLES
    for name, shown, values in groups:
        for labels, value in values:
            clean = {label: _clean(text, _MAX_LABEL_CHARACTERS) for label, text in labels.items()}
            # orjson writes what is no finite number as null.
            number = float("nan") if value is None else float(value)
            sample = Sample(str(name), _clean(shown, _MAX_HELP_CHARACTERS), clean, number)
            left -= 1
            if left < 0 or not usable(sample):
                raise ValueError(f"sample {name!r:.50}")
            yield sample


def _numbers(said: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: _count(said[name]) for name in _COUNTS}
    for name in _OPTIONAL_COUNTS:
        found[name] = None if said[name] is None else _count(said[name])
    return found | {name: _time(said[name]) for name in _OPTIONAL_TIMES}


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{value!r:.50} is no count")
    return value


def _time(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{value!r:.50} is no time")
    return float(value)


def _clean(text: str, limit: int) -> str:
    """Cut what is too long, and what is no text out of it."""
    return text[:limit].encode("utf-8", "replace").decode()
