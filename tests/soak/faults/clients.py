"""Clients that send nonsense, or do not read, on a relay's port."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

from tests.soak.faults.fault import Fault
from tests.soak.topology import VALKEY_RDB
from tests.soak.world import World, linger


class Garbage(Fault):
    """Connections with noise, broken frames, floods and requests whose answers nobody reads."""

    name = "garbage clients"
    weight = 6
    legitimate = (
        "none; fake replicas among them get what the relay has stored, and only when Valkey 9 has "
        "to write another format for them does a snapshot cost the master anything"
    )

    def strike(self, world: World) -> str:
        relay = self.rng.choice(world.relays)
        # Its own counter of full syncs grows by the fakes among them.
        world.ledger.strange_sync(relay)
        if world.topology.master.rdb_version == VALKEY_RDB:
            # They don't say that they are Valkey, and so need Redis's format; a relay asks the
            # relay above for it.
            for asked in world.relays:
                world.ledger.excuse_refresh(asked, "a stranger asked for another format")
        count = self.rng.randint(1, 12)
        with ExitStack() as stack:
            for _ in range(count):
                sock = stack.enter_context(socket.socket())
                if self.rng.random() < 0.3:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                sock.settimeout(0.2)
                with suppress(OSError):
                    sock.connect(("127.0.0.1", relay.port))
                    sock.sendall(_noise(self.rng, relay.port))
                    if self.rng.random() < 0.5:
                        sock.recv(1 << 16)
            linger(self.rng, 0.1, 1.0)
        return f"{count} at {relay.name}"


def _noise(rng: random.Random, port: int) -> bytes:
    """Draw something that no peer should send, or send and walk away."""
    fixed = (
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1000000\r\n$1000000\r\n",
        b"*-1\r\n$-1\r\n*0\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"$5\r\nhello\r\n",
        b"INFO\r\n" * 3_000,
        b"PING\r\n" * 20_000,
        b"x" * 100_000,
        b"PSYNC ? -1\r\n",
        b"SYNC\r\n",
        b"REPLCONF capa eof capa psync2\r\nPSYNC ? -1\r\n",
        b"PSYNC " + b"0" * 40 + b" 12345\r\n",
        b"PSYNC x 9223372036854775807\r\nREPLCONF ACK 99999999999\r\n",
        b"REPLCONF listening-port %d\r\nPSYNC ? -1\r\n" % port,
        b"REPLCONF ACK 1\r\n" * 100,
        b"SUBSCRIBE x\r\nMONITOR\r\nCLIENT LIST\r\n",
        b"MULTI\r\nINFO\r\nEXEC\r\n" * 50,
        b"CLIENT KILL TYPE normal\r\n",
    )
    kind = rng.randrange(len(fixed) + 4)
    if kind < len(fixed):
        return fixed[kind]
    if kind == len(fixed):
        return rng.randbytes(rng.randrange(1, 70_000))
    whole = rng.choice(fixed)
    return whole[: rng.randrange(len(whole)) + 1]
