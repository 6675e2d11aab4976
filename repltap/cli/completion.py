"""`repltap completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_REPLTAP_COMPLETE"
"""How the shell's function calls repltap; click derives the same name from the program's."""


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script for completion in bash, zsh or fish.

    repltap has to be on PATH. Run it once, or from the shell's start file:

    \b
    eval "$(repltap completion bash)"                            # in ~/.bashrc
    eval "$(repltap completion zsh)"                             # in ~/.zshrc
    repltap completion fish > ~/.config/fish/completions/repltap.fish
    """
    made = get_completion_class(shell)
    assert made is not None  # click has all three
    click.echo(made(context.find_root().command, {}, "repltap", VARIABLE).source())
