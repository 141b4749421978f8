"""The verb web."""

from __future__ import annotations

import os
import shlex
import sys

import click

from foundations_tui.cli.params import say
from foundations_tui.errors import FoundationsError
from foundations_tui.ui.pages import PAGES

_PORT = 8017


@click.command()
@click.argument("page", required=False, default="", type=click.Choice(("", *PAGES)), metavar="[PAGE]")
@click.option(
    "--port", default=_PORT, type=click.IntRange(0, 65535), help="Of loopback (default 8017); 0: any free one."
)
@click.option("--theme", default="", help="A theme's name, as for foundations ui.")
def web(page: str, port: int, theme: str) -> None:
    """Serve the terminal app to a browser on this machine, until Ctrl-C.

    The address holds a token: whoever has it can do what you can. It listens on loopback only; from
    another machine: ssh -L 8017:127.0.0.1:8017 this-machine
    """
    try:
        from foundations_tui.ui.web import WebServer, listen
    except ImportError:
        raise FoundationsError("this needs textual-serve", "pip install 'foundations-tui[web]'") from None
    from foundations_tui.cli.commands.ui import check_settings

    check_settings(theme)
    words = [sys.executable, "-P", "-m", "foundations_tui", "ui", *([page] if page else [])]
    command = shlex.join([*words, *(["--theme", theme] if theme else [])])
    try:
        listener = listen(port)
    except OSError as error:
        raise FoundationsError(
            f"port {port} cannot be used: {os.strerror(error.errno or 0)}", "--port 0 takes a free one"
        ) from None
    WebServer(command, listener, "foundations", _say_where).run()


def _say_where(address: str) -> None:
    click.echo(address)
    sys.stdout.flush()
    say("Ctrl-C ends it; jobs run on")
