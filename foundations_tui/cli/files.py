"""The verbs for a job's files: ls and get."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundations_tui import words
from foundations_tui.cli import output
from foundations_tui.cli.options import LocalPath, connecting, job_argument, json_option, say
from foundations_tui.cli.progress import Line
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.store import queries
from foundations_tui.store.rows import iso
from foundations_tui.terminal import one_line

if TYPE_CHECKING:
    from foundations_tui.fetching import Wish
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow

_SHOWN_FROM = 1 << 20
"""Bytes: less is here sooner than it is read."""


@click.command()
@job_argument
@click.argument("path", default="")
@json_option
@connecting
def ls(session: Session, job: str, path: str, as_json: bool) -> None:
    """List a folder of a job's working directory, on its host."""
    from foundations_tui import actions

    row = queries.find(session.store.conn, job)
    found = actions.list_files(session, row, path)
    if as_json:
        output.print_json([{**entry, "modified_at": iso(entry["modified_at"])} for entry in found["entries"]])
    else:
        now = time.time()
        cells = [
            ["" if e["kind"] == "folder" else words.size(e["size"]), words.ago(e["modified_at"], now), _shown_name(e)]
            for e in found["entries"]
        ]
        output.print_table(("SIZE", "CHANGED", "NAME"), cells)
    if found["truncated"]:
        say("there are more: give a folder below it")


@click.command()
@job_argument
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--code", is_flag=True, help="The code it ran, into code/.")
@click.option("--artifacts", is_flag=True, help="What it saved as artifacts, into artifacts/.")
@click.option("--artifact", "keys", multiple=True, metavar="KEY", help="One artifact, into artifacts/ (repeatable).")
@click.option("--log", is_flag=True, help="Its log, as output.log.")
@click.option(
    "--dest",
    default="",
    type=LocalPath("dir"),
    metavar="DIR",
    help="Where to (default: a folder named by the job's id, which git then ignores).",
)
@json_option
@connecting
def get(
    session: Session,
    job: str,
    paths: tuple[str, ...],
    code: bool,
    artifacts: bool,
    keys: tuple[str, ...],
    log: bool,
    dest: str,
    as_json: bool,
) -> None:
    """Fetch files of a job: by default all that it wrote in its folder; or PATHs, files and folders.

    \b
      foundations get 3f2a91                       all that it wrote, into ./3f2a91/
      foundations get 3f2a91 runs/x/model.pt       one file, into ./3f2a91/runs/x/
    """
    from foundations_tui.fetching import Wish

    row = queries.find(session.store.conn, job)
    if row.kind == "run" and (paths or code or log):
        raise NotFoundError(f"job {row.job} was started by hand: it ran in your own folder", "--artifacts are kept")
    if row.attempt == 0:
        raise NotFoundError(f"job {row.job} has not started: it has no files yet")
    if row.pruned and (paths or code or not (log or artifacts or keys)):
        raise NotFoundError(f"the folder of job {row.job} was removed from {row.host} (pruned)", "--log is still here")
    target = Path(dest or queries.short_ids(session.store.conn, [row.job])[row.job])
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is no folder", "--dest names a folder")
    if not dest:
        _keep_out_of_snapshots(target)
    found: list[tuple[str, int]] = []
    if paths or not (code or artifacts or keys or log or row.kind == "run"):
        found += _fetch(session, row, Wish("paths" if paths else "written", paths), target)
    if code:
        found += [(f"code/{name}", size) for name, size in _fetch(session, row, Wish("code"), target / "code")]
    if artifacts or keys:
        found += _copy_artifacts(session, row, keys, target)
    if log:
        found.append(_fetch_log(session, row, target))
    if as_json:
        output.print_json([{"path": str(target / name), "bytes": size} for name, size in found])
    else:
        for name, _ in found:
            click.echo(one_line(str(target / name)))
        say(f"{words.plural(len(found), 'file')}, {words.size(sum(size for _, size in found))}, in {target}/")


def _keep_out_of_snapshots(folder: Path) -> None:
    """Make git ignore the folder, and so the next submit: it lies in the middle of the user's project."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".gitignore").open("x") as file:
            file.write("*\n")
    except FileExistsError:
        pass


def _fetch(session: Session, row: JobRow, wish: Wish, target: Path) -> list[tuple[str, int]]:
    from foundations_tui import fetching

    line = Line()

    def came(so_far: int, total: int) -> None:
        if total > _SHOWN_FROM:
            line.bar("fetching", so_far, total, f"{words.size(so_far)} of {words.size(total)}")

    try:
        return fetching.fetch(session, row, wish, target, came).files
    except NotFoundError as error:
        raise NotFoundError(str(error), f"foundations ls {row.job[:6]} lists the job's folder") from None
    finally:
        line.end()


def _copy_artifacts(session: Session, row: JobRow, keys: tuple[str, ...], target: Path) -> list[tuple[str, int]]:
    """Put artifacts into artifacts/, each under its key; what is here already is not fetched again."""
    from foundations_tui import fetching

    found = []
    for key in keys or tuple(key for key, facts in row.artifacts.items() if facts.get("kind") != "synced"):
        source = fetching.artifact(session, row, key)
        there = target / "artifacts" / source.name
        there.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, there, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, there)
        files = [path for path in (there.rglob("*") if there.is_dir() else [there]) if path.is_file()]
        found += [(str(path.relative_to(target)), path.stat().st_size) for path in files]
    return found


def _fetch_log(session: Session, row: JobRow, target: Path) -> tuple[str, int]:
    from foundations_tui import locations, sync

    if not row.complete:
        sync.catch_up(session, row.host, jobs=[row.job])
    try:
        data = locations.log_file(row.job, row.attempt).read_bytes()
    except FileNotFoundError:
        data = b""  # it wrote nothing
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / "output.log").unlink(missing_ok=True)  # it may be a link that an earlier fetch brought
        (target / "output.log").write_bytes(data)
    except OSError as error:
        raise FoundationsError(f"{target}: {error.strerror}") from None
    return "output.log", len(data)


def _shown_name(entry: dict[str, object]) -> str:
    return f"{entry['name']}/" if entry["kind"] == "folder" else str(entry["name"])
