"""The verb mcp: the front for coding assistants."""

from __future__ import annotations

from pathlib import Path

import click

from foundations_tui.cli.params import LocalPath
from foundations_tui.errors import FoundationsError, UsageError


@click.command()
@click.option("--root", default=".", type=LocalPath("dir"), help="Submits and fetches stay below this folder.")
@click.option("--read-only", is_flag=True, help="Offer nothing that changes anything.")
def mcp(root: str, read_only: bool) -> None:
    """Serve a coding assistant over stdio, by the Model Context Protocol: find, compare, submit, wait, stop.

    It works with your own jobs only and asks nothing: what would be asked is an error.

    \b
      claude mcp add foundations -- foundations mcp --root .
    """
    from foundations_tui.session import Session

    if not Path(root).is_dir():
        raise UsageError(f"there is no folder {root!r}", "--root names the folder below which submits stay")
    try:
        from foundations_tui.mcp import server
    except ImportError:
        raise FoundationsError("this needs the mcp package", "pip install 'foundations-tui[mcp]'") from None
    session = Session()
    try:
        server.serve(session, Path(root), read_only)
    finally:
        session.close()
