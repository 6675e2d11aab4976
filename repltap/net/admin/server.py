"""INFO, TIME, LASTSAVE, SHUTDOWN, and the diagnostics that monitors ask every server for."""

from __future__ import annotations

import os

from repltap.net.admin.command import SYNTAX_ERROR, Call, Command, RefusedError, parse_integer
from repltap.net.admin.data_commands import refuse_data
from repltap.protocol import reply
from repltap.protocol.info import render_info

_UNAME = os.uname()
_SYSTEM = f"{_UNAME.sysname} {_UNAME.release} {_UNAME.machine}"


def _info(call: Call) -> bytes:
    sections = [name.decode("ascii", "replace") for name in call.args[1:]]
    text = render_info(call.context.status(), sections, system=_SYSTEM)
    return reply.verbatim(text, call.resp)


def _time(call: Call) -> bytes:
    microseconds = int(call.context.status().now * 1_000_000)
    seconds, rest = divmod(microseconds, 1_000_000)
    return reply.array((reply.bulk(str(seconds)), reply.bulk(str(rest))))


def _last_save(call: Call) -> bytes:
    # The newest stored snapshot is what a relay has saved last; 0 when there is none.
    journal = call.context.status().journal
    snapshots = journal.snapshots if journal else ()
    return reply.integer(int(max((each.created_at for each in snapshots), default=0)))


def _shutdown(call: Call) -> bytes:
    options = {each.lower() for each in call.args[1:]}
    if options == {b"abort"}:
        raise RefusedError(b"ERR No shutdown in progress.")
    known = options <= {b"nosave", b"save", b"now", b"force"}
    if not known or {b"nosave", b"save"} <= options:
        raise RefusedError(SYNTAX_ERROR)
    # SAVE, NOSAVE and FORCE change nothing: the journal is always synced, and can't be skipped.
    call.context.request_shutdown(now=b"now" in options)
    # Redis answers a shutdown that works by closing the connection.
    return b""


def _monitor(call: Call) -> bytes:
    if call.state.executing:  # Redis `monitorCommand`, and Valkey's; its words
        raise RefusedError(b"ERR MONITOR isn't allowed for DENY BLOCKING client")
    if call.state.monitoring:
        return b""  # Redis `monitorCommand`: it is ignored
    if not call.context.monitor(call.session.id):
        raise RefusedError(b"ERR max number of monitoring clients reached")
    call.state.monitoring = True
    return reply.OK


def _nothing(_call: Call) -> bytes:
    return reply.array(())


def _zero(_call: Call) -> bytes:
    return reply.integer(0)


def _ok(_call: Call) -> bytes:
    return reply.OK


def _slow_log(call: Call) -> bytes:
    if len(call.args) > 3:
        raise RefusedError(SYNTAX_ERROR)
    if len(call.args) == 3:
        count = parse_integer(call.args[2])
        if count is None or count < -1:
            raise RefusedError(b"ERR count should be greater than or equal to -1")
    return reply.array(())


def _latency_histogram(call: Call) -> bytes:
    return reply.map_of((), call.resp)


def _memory_stats(call: Call) -> bytes:
    status = call.context.status()
    fields = (
        ("peak.allocated", status.peak_rss_bytes),
        ("total.allocated", status.rss_bytes),
        ("replication.backlog", 0),
        ("keys.count", 0),
        ("dataset.bytes", 0),
    )
    pairs = ((reply.bulk(name), reply.integer(value)) for name, value in fields)
    return reply.map_of(pairs, call.resp)


_WATCH = ("admin", "noscript", "loading", "stale")
_WATCH_CATEGORIES = ("admin", "slow", "dangerous")

COMMANDS = (
    Command(
        name="info",
        arity=-1,
        handler=_info,
        summary="Tell what the relay knows about itself",
        since="1.0.0",
        group="server",
        flags=("loading", "stale"),
        categories=("slow", "dangerous"),
    ),
    Command(
        name="time",
        arity=1,
        handler=_time,
        summary="Tell the relay's clock",
        since="2.6.0",
        group="server",
        flags=("loading", "stale", "fast"),
        categories=("fast",),
    ),
    Command(
        name="lastsave",
        arity=1,
        handler=_last_save,
        summary="Tell when the newest stored snapshot was taken",
        since="1.0.0",
        group="server",
        flags=("loading", "stale", "fast"),
        categories=("admin", "fast", "dangerous"),
    ),
    Command(
        name="shutdown",
        arity=-1,
        handler=_shutdown,
        summary="Stop the relay in order",
        since="1.0.0",
        group="server",
        flags=("admin", "noscript", "loading", "stale", "no_multi", "allow_busy"),
        categories=_WATCH_CATEGORIES,
    ),
    Command(
        name="monitor",
        arity=1,
        handler=_monitor,
        summary="Show the master's writes as they come in",
        since="1.0.0",
        group="server",
        flags=("admin", "noscript", "loading", "stale"),
        categories=_WATCH_CATEGORIES,
    ),
    Command(
        name="slowlog",
        arity=-2,
        summary="The log of slow commands, which is always empty",
        since="2.2.12",
        group="server",
        categories=("slow",),
        subcommands=(
            Command(
                name="slowlog|get",
                arity=-2,
                handler=_slow_log,
                summary="Give the entries: none",
                usage="[<count>]",
                since="2.2.12",
                group="server",
                flags=("admin", "loading", "stale"),
                categories=_WATCH_CATEGORIES,
            ),
            Command(
                name="slowlog|len",
                arity=2,
                handler=_zero,
                summary="Count the entries: 0",
                since="2.2.12",
                group="server",
                flags=("admin", "loading", "stale"),
                categories=_WATCH_CATEGORIES,
            ),
            Command(
                name="slowlog|reset",
                arity=2,
                handler=_ok,
                summary="Forget the entries",
                since="2.2.12",
                group="server",
                flags=("admin", "loading", "stale"),
                categories=_WATCH_CATEGORIES,
            ),
        ),
    ),
    Command(
        name="latency",
        arity=-2,
        summary="Latency events, of which none are recorded",
        since="2.8.13",
        group="server",
        categories=("slow",),
        subcommands=(
            Command(
                name="latency|latest",
                arity=2,
                handler=_nothing,
                summary="Give the latest of each event: none",
                since="2.8.13",
                group="server",
                flags=_WATCH,
                categories=_WATCH_CATEGORIES,
            ),
            Command(
                name="latency|history",
                arity=3,
                handler=_nothing,
                summary="Give the samples of an event: none",
                usage="<event>",
                since="2.8.13",
                group="server",
                flags=_WATCH,
                categories=_WATCH_CATEGORIES,
            ),
            Command(
                name="latency|reset",
                arity=-2,
                handler=_zero,
                summary="Forget events, and count the forgotten: 0",
                usage="[<event> ...]",
                since="2.8.13",
                group="server",
                flags=_WATCH,
                categories=_WATCH_CATEGORIES,
            ),
            Command(
                name="latency|histogram",
                arity=-2,
                handler=_latency_histogram,
                summary="Give latencies by command: none",
                usage="[<command> ...]",
                since="7.0.0",
                group="server",
                flags=_WATCH,
                categories=_WATCH_CATEGORIES,
            ),
        ),
    ),
    Command(
        name="memory",
        arity=-2,
        summary="Memory of the relay's process",
        since="4.0.0",
        group="server",
        categories=("slow",),
        subcommands=(
            Command(
                name="memory|stats",
                arity=2,
                handler=_memory_stats,
                summary="Tell how much is resident, now and at most",
                since="4.0.0",
                group="server",
                categories=("slow",),
            ),
            Command(
                name="memory|usage",
                arity=-3,
                handler=refuse_data,
                summary="Refused: there are no keys",
                usage="<key>",
                since="4.0.0",
                group="server",
                categories=("read", "slow"),
            ),
        ),
    ),
)
