"""The verb store: keep a copy of the local store, and look whether it is sound."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import json_option, say
from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.store import queries
from foundations_tui.store.db import open_reader
from foundations_tui.text import humanize


@click.group()
def store() -> None:
    """Back up and check the local store (what hosts still have comes back from them anyway)."""


@store.command()
@click.argument("file", type=click.Path(dir_okay=False))
def backup(file: str) -> None:
    """Write a copy of the store to FILE, while jobs run and the app is open."""
    target = Path(file)
    if target.exists():
        raise UsageError(f"{file} exists already", "name a new file")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.touch(mode=0o600)
        with contextlib.closing(open_reader()) as source, contextlib.closing(sqlite3.connect(part)) as copy:
            source.backup(copy, pages=1000)
        part.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise FoundationsError(f"{file} cannot be written: {getattr(error, 'strerror', None) or error}") from None
    finally:
        part.unlink(missing_ok=True)
    say(f"{humanize.size(target.stat().st_size)} in {file}; to use it: put it in the place of {locations.store_file()}")


@store.command()
@json_option
def check(as_json: bool) -> int:
    """Look whether the store is sound, and say what is in it."""
    counts: dict[str, int] = {}
    try:
        with contextlib.closing(open_reader()) as conn:
            problems = queries.integrity_problems(conn)
            counts = queries.counts(conn)
    except sqlite3.DatabaseError as error:
        problems = [str(error)]
    facts: dict[str, str | int] = {
        "file": str(locations.store_file()),
        "bytes": locations.store_file().stat().st_size,
        **counts,
    }
    if as_json:
        output.print_json({**facts, "problems": problems})
    else:
        output.print_table(
            ("WHAT", ""), [[key, f"{v:,}" if isinstance(v, int) else str(v)] for key, v in facts.items()]
        )
        say("\n".join(problems) if problems else "it is sound")
        if problems:
            say(f"not sound: move {locations.store_file()} away; the next sync fills a new one from the hosts")
    return 1 if problems else 0
