"""Which sinks there are: entry points of the group `repltap.sinks`, or any class by its place.

    [project.entry-points."repltap.sinks"]
    file = "sinks.file:FileSink"

A sink that is not installed so is named by where it is: `type = "package.module:Class"`. What goes
wrong in somebody else's module is one line that says which, never a traceback.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from importlib.metadata import EntryPoint, entry_points

from repltap.errors import ConfigError
from repltap.sink import Sink

GROUP = "repltap.sinks"

_EXTRAS = {"confluent_kafka": "kafka"}
"""Which extra of repltap installs a module that one of its own sinks imports."""


def sink_types() -> list[str]:
    """Give the names of all sinks that are installed."""
    return sorted({found.name for found in entry_points(group=GROUP)})


def find_sink(kind: str, origin: str) -> type[Sink]:
    """Load the class of a sink.

    Args:
        kind: The name of an entry point, or `package.module:Class`.
        origin: Where it was configured, for errors.

    Raises:
        ConfigError: There is none of that name, it can't be imported, or it is no sink.
    """
    module, colon, name = kind.partition(":")
    if colon:
        if not module or not name.isidentifier():
            raise ConfigError(f"{origin}: type: {kind!r} is not package.module:Class")
        return _load(EntryPoint(kind, kind, GROUP), origin)
    found = [one for one in entry_points(group=GROUP) if one.name == kind]
    if not found:
        raise ConfigError(f"{origin}: type: there is no sink {kind!r}", hint=_known(kind))
    if len({one.value for one in found}) > 1:
        places = ", ".join(sorted(one.value for one in found))
        raise ConfigError(
            f"{origin}: type: there is more than one sink {kind!r}: {places}",
            hint="say which: type = package.module:Class",
        )
    return _load(found[0], origin)


def _load(entry: EntryPoint, origin: str) -> type[Sink]:
    where = f"{origin}: type: the sink {entry.name!r}"
    if entry.name != entry.value:
        where += f" ({entry.value})"
    try:
        # A module that exists is not looked for again, whatever was installed meanwhile.
        importlib.invalidate_caches()
        found = entry.load()
    except (Exception, SystemExit) as exc:
        raise ConfigError(
            f"{where} can't be imported: {_one_line(exc)}", hint=_missing(exc, entry)
        ) from exc
    if not (isinstance(found, type) and issubclass(found, Sink)):
        raise ConfigError(f"{where} is no class that derives from repltap.sink.Sink")
    if inspect.isabstract(found):
        lacks = ", ".join(sorted(found.__abstractmethods__))
        raise ConfigError(f"{where} lacks methods: {lacks}")
    return found


def _missing(exc: BaseException, entry: EntryPoint) -> str:
    """Say what to install, or where to look, for a module that is not found."""
    if not isinstance(exc, ModuleNotFoundError) or exc.name is None:
        return ""
    extra = _EXTRAS.get(exc.name)
    if extra:
        return f"pip install 'repltap[{extra}]'"
    if exc.name == entry.module.partition(".")[0]:
        return "install it, or name its directory in PYTHONPATH"
    return ""


def _known(kind: str) -> str:
    known = sink_types()
    near = difflib.get_close_matches(kind, known, n=1)
    if near:
        return f"did you mean {near[0]}? known: {', '.join(known)}"
    return f"known: {', '.join(known) or 'none'}; or package.module:Class"


def _one_line(exc: BaseException) -> str:
    said = " ".join(str(exc).split())[:300]
    return f"{type(exc).__name__}: {said}" if said else type(exc).__name__
