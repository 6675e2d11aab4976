"""`make soak`: random faults on real servers under load; equal data, or a seed that shows why not.

Every twenty rounds there is another topology. A round draws its faults from (seed, round) alone, so
one round can be run again by itself. The moments inside a round are real time: a replay repeats
what is done and when, not what the machine makes of it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from tests.servers.find import flavours
from tests.servers.lab import Lab
from tests.soak.episode import Episode, RoundFailedError
from tests.soak.plan import ROUNDS_PER_EPISODE, generator
from tests.soak.report import Done, Tally, replay_command, show_tally, write_json
from tests.soak.topology import draw_topology

_PRIVATE_MOUNTS = "REPLTAP_SOAK_PRIVATE_MOUNTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    seed: int
    duration_seconds: float
    rounds: int | None
    only_round: int | None
    only: frozenset[str]


@click.command()
@click.option("--seed", type=int, help="Chooses everything; random if not given.")
@click.option("--duration", default=120.0, help="Seconds after which no round is begun.")
@click.option("--rounds", type=click.IntRange(1), help="So many rounds instead.")
@click.option("--round", "only_round", type=click.IntRange(0), help="This round alone.")
@click.option("--only", multiple=True, help="Draw from these faults only.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the tally there.")
def main(
    seed: int | None,
    duration: float,
    rounds: int | None,
    only_round: int | None,
    only: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Let everything go wrong and see that nothing is lost."""
    _have_private_mounts()
    # As ctrl-C does: the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not flavours():
        raise click.ClickException(
            "no Redis or Valkey server is here: python -m tests.servers.find"
        )
    plan = _Plan(
        seed=random.SystemRandom().randrange(1 << 31) if seed is None else seed,
        duration_seconds=duration,
        rounds=rounds,
        only_round=only_round,
        only=frozenset(only),
    )
    # Lines stay whole in a log file too.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, soft_wrap=True)
    console.print(f"seed {plan.seed}; servers: {', '.join(flavours())}")
    tally = Tally(plan.seed)
    begun = time.monotonic()
    try:
        _run(plan, tally, console)
    finally:
        tally.seconds = time.monotonic() - begun
        show_tally(console, tally)
        if json_file:
            write_json(json_file, tally)
    sys.exit(1 if tally.failure else 0)


def _run(plan: _Plan, tally: Tally, console: Console) -> None:
    ends_at = time.monotonic() + plan.duration_seconds
    number = plan.only_round or 0
    while not tally.failure:
        last = (number // ROUNDS_PER_EPISODE + 1) * ROUNDS_PER_EPISODE
        if plan.only_round is not None:
            last = number + 1
        if plan.rounds is not None:
            last = min(last, plan.rounds)
        number = _run_episode(plan, tally, console, range(number, last), ends_at)
        if plan.only_round is not None or number == plan.rounds:
            return
        if plan.rounds is None and time.monotonic() >= ends_at:
            return


def _run_episode(
    plan: _Plan, tally: Tally, console: Console, numbers: range, ends_at: float
) -> int:
    """Run rounds of one episode.

    Returns:
        The number of the next round.
    """
    number = numbers.start
    rng = generator(plan.seed, "episode", number // ROUNDS_PER_EPISODE)
    topology = draw_topology(rng, flavours())
    console.print(f"episode {number // ROUNDS_PER_EPISODE}: {topology}", markup=False)
    directory = Path(tempfile.mkdtemp(prefix="repltap-soak-"))
    episode = Episode(Lab(directory), topology, tally, plan.only)
    tally.episodes += 1
    try:
        episode.start()
        for number in numbers:
            if plan.rounds is None and plan.only_round is None and time.monotonic() >= ends_at:
                return number
            begun = time.monotonic()
            done = episode.run_round(number)
            tally.rounds += 1
            names = ", ".join(d.name if d.struck else f"({d.name})" for d in done)
            console.print(
                f"  round {number}: {time.monotonic() - begun:4.1f} s  {names}", markup=False
            )
        episode.finish()
        return numbers.stop
    except RoundFailedError as exc:
        tally.failure = f"round {number}: {exc.message.splitlines()[0]}"
        _show_failure(console, plan, episode, number, exc)
        return number
    finally:
        episode.close()
        if tally.failure:
            console.print(f"kept: {directory}", markup=False)
        else:
            with suppress(OSError):
                shutil.rmtree(directory)


def _show_failure(
    console: Console, plan: _Plan, episode: Episode, number: int, failure: RoundFailedError
) -> None:
    def show(text: str) -> None:
        console.print(text, markup=False)

    show(f"\nFAILED in round {number} of seed {plan.seed}: {episode.world.topology}")
    show(failure.message)
    show("faults:")
    faults: list[Done] = sorted(failure.done, key=lambda d: d.begin_seconds)
    for done in faults:
        show(f"  {done}")
    show("syncs, as the logs of this round tell:")
    show(episode.ledger.explanations())
    for title, text in episode.world.lab.logs():
        show(f"--- {title}\n{text}")
    show(f"again, this round alone: {replay_command(plan.seed, number, sorted(plan.only))}")
    show(f"again, from the start:   make soak SEED={plan.seed} ROUNDS={number + 1}")


def _have_private_mounts() -> None:
    """Run in a mount namespace of its own, where that is allowed: no mount outlives the soak."""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or not unshare or os.environ.get(_PRIVATE_MOUNTS):
        return
    os.environ[_PRIVATE_MOUNTS] = "1"
    os.execv(unshare, [unshare, "-m", sys.executable, "-m", "tests.soak", *sys.argv[1:]])


if __name__ == "__main__":
    main(prog_name="python -m tests.soak")
