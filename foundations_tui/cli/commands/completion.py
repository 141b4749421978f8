"""The verb completion: the script that a shell sources."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_WHERE = {
    "bash": 'add this to ~/.bashrc:   eval "$(foundations completion bash)"',
    "zsh": 'add this to ~/.zshrc, below compinit:   eval "$(foundations completion zsh)"',
    "fish": "run once:   foundations completion fish > ~/.config/fish/completions/foundations.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_WHERE)))
def completion(shell: str) -> None:
    """Print the completion script of a shell: verbs, job ids, hosts and projects.

    \b
      bash:  eval "$(foundations completion bash)"                    in ~/.bashrc
      zsh:   eval "$(foundations completion zsh)"                     in ~/.zshrc, below compinit
      fish:  foundations completion fish > ~/.config/fish/completions/foundations.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.get_current_context().find_root().command, {}, "foundations", "_FOUNDATIONS_COMPLETE").source()
    click.echo(f"# {_WHERE[shell]}\n{script}")
