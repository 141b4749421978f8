"""The verb get."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import LocalPath, connecting, job_argument, json_option, say
from foundations_tui.cli.progress import Line
from foundations_tui.errors import FoundationsError, HostError, NotFoundError, UsageError
from foundations_tui.store import queries
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow
    from foundations_tui.sync.outputs import Fetched, Wish
    from foundations_tui.sync.unpacking import Unpacked

_MOST_REFUSED = 20
_SHOWN_FROM = 1 << 20
"""Bytes: less is here sooner than it is read."""


@click.command()
@job_argument
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--code", is_flag=True, help="The code it ran, into code/.")
@click.option("--artifacts", is_flag=True, help="What it saved as artifacts, into artifacts/.")
@click.option("--artifact", "keys", multiple=True, metavar="KEY", help="One artifact, into artifacts/ (repeatable).")
@click.option("--log", is_flag=True, help="Its log, as output.log.")
@click.option("--checkpoints", is_flag=True, help="What it left in its folder of checkpoints, into checkpoints/.")
@click.option(
    "--attempt", default=None, type=click.IntRange(1), help="Which attempt's files (default: the last one's)."
)
@click.option("--with-git", is_flag=True, help="Also what lies below a .git/ there.")
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
    checkpoints: bool,
    attempt: int | None,
    with_git: bool,
    dest: str,
    as_json: bool,
) -> int:
    """Fetch files of a job: by default all that it wrote in its folder; or PATHs, files and folders.

    \b
      foundations get 3f2a91                       all that it wrote, into ./3f2a91/
      foundations get 3f2a91 runs/x/model.pt       one file, into ./3f2a91/runs/x/
    """
    from foundations_tui.sync.outputs import Fetched, Wish

    row = queries.find(session.store.conn, job)
    if row.kind == "run" and (paths or code or log or checkpoints):
        raise NotFoundError(f"job {row.job} was started by hand: it ran in your own folder", "--artifacts are kept")
    if row.attempt == 0:
        raise NotFoundError(f"job {row.job} has not started: it has no files yet")
    if (attempt or 0) > row.attempt:
        raise NotFoundError(f"job {row.job} has no attempt {attempt}", f"it has {row.attempt}")
    if row.pruned and (paths or code or checkpoints or not (log or artifacts or keys)):
        raise NotFoundError(f"the folder of job {row.job} was removed from {row.host} (pruned)", "--log is still here")
    target = Path(dest or queries.short_ids(session.store.conn, [row.job])[row.job])
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is no folder", "--dest names a folder")
    if not dest:
        _refuse_other_folder(target, row)
        _keep_out_of_snapshots(target)
    found = Fetched([], [])

    def bring(wish: Wish, within: str = "") -> None:
        _add(
            found, _fetch(session, row, replace(wish, attempt=attempt or 0, with_git=with_git), target, within), within
        )

    if paths or not (code or artifacts or keys or log or checkpoints or row.kind == "run"):
        bring(Wish("paths" if paths else "written", paths))
    if code:
        bring(Wish("code"), "code")
    if checkpoints:
        bring(Wish("checkpoints"), "checkpoints")
    if artifacts or keys:
        _copy_artifacts(session, row, keys, target, with_git, found)
    if log:
        _copy_log(session, row, attempt or row.attempt, target, found)
    if not dest:
        _keep_out_of_snapshots(target)  # again: what came may say otherwise
    return _tell(target, found, as_json)


def _add(found: Fetched, came: Fetched | Unpacked, within: str) -> None:
    prefix = f"{within}/" if within else ""
    found.files.extend((prefix + name, size) for name, size in came.files)
    found.refused.extend((prefix + name, why) for name, why in came.refused)


def _tell(target: Path, found: Fetched, as_json: bool) -> int:
    """Print what came, say what was refused, and return the exit code."""
    if as_json:
        output.print_json([{"path": str(target / name), "bytes": size} for name, size in found.files])
    else:
        for name, _ in found.files:
            click.echo(one_line(str(target / name)))
        size = humanize.size(sum(size for _, size in found.files))
        say(f"{humanize.plural(len(found.files), 'file')}, {size}, in {target}/")
    for name, why in found.refused[:_MOST_REFUSED]:
        say(f"refused: {name}: {why}")
    if len(found.refused) > _MOST_REFUSED:
        say(f"refused: {len(found.refused) - _MOST_REFUSED} more")
    return 1 if found.refused else 0


_MARK = "# fetched by foundations get: not part of the project\n*\n"
"""The end of the .gitignore of a folder that we made: the last rule counts."""


def _refuse_other_folder(folder: Path, row: JobRow) -> None:
    """Refuse a folder that is named like a job and was not made by an earlier get: hosts choose their jobs' names.

    Raises:
        UsageError: it is there, and not empty.
    """
    if folder.is_dir() and any(folder.iterdir()) and not _is_marked(folder):
        raise UsageError(f"{folder}/ is there already, and not from an earlier get", "--dest names a folder")


def _is_marked(folder: Path) -> bool:
    try:
        return (folder / ".gitignore").read_bytes().splitlines()[-1:] == [b"*"]
    except OSError:
        return False


def _keep_out_of_snapshots(folder: Path) -> None:
    """Make git ignore the folder, and so the next submit: it lies in the middle of the user's project."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".gitignore"
    if path.is_symlink():
        path.unlink()
    if not _is_marked(folder):
        with path.open("a") as file:
            file.write(("\n" if path.stat().st_size else "") + _MARK)


def _fetch(session: Session, row: JobRow, wish: Wish, target: Path, within: str) -> Fetched:
    from foundations_tui.sync import outputs

    line = Line()

    def came(so_far: int, total: int) -> None:
        if total > _SHOWN_FROM:
            line.bar("fetching", so_far, total, f"{humanize.size(so_far)} of {humanize.size(total)}")

    try:
        return outputs.fetch(session, row, wish, target, came, within)
    except NotFoundError as error:
        raise NotFoundError(str(error), f"foundations ls {row.job[:6]} lists the job's folder") from None
    finally:
        line.end()


def _copy_artifacts(
    session: Session, row: JobRow, keys: tuple[str, ...], target: Path, with_git: bool, found: Fetched
) -> None:
    """Put artifacts into artifacts/, each under its key; what is here already is not fetched again."""
    from foundations_tui.sync import outputs, unpacking

    for key in keys or tuple(row.artifacts):
        try:
            source = outputs.artifact(session, row, key)
        except HostError:
            raise
        except FoundationsError as error:
            if keys:
                raise
            found.refused.append((key, str(error)))
            continue
        within = "artifacts/synced" if row.artifacts[key].get("kind") == outputs.SYNCED else "artifacts"
        try:
            with unpacking.Folder(target, within, with_git) as folder:
                copied = unpacking.copy(source, folder, _with_suffix(source.name, row.artifacts[key].get("name")))
        except OSError as error:
            raise FoundationsError(f"{target}: {error.strerror or error}") from None
        _add(found, copied, within)


def _with_suffix(name: str, original: Any) -> str:
    """Return an artifact's name with the ending of the file that it was, where its key has none: programs go by it."""
    ending = Path(original).suffix if isinstance(original, str) and "\0" not in original else ""
    return name + ending if ending.isascii() and len(ending) <= 10 and not Path(name).suffix else name


def _copy_log(session: Session, row: JobRow, attempt: int, target: Path, found: Fetched) -> None:
    from foundations_tui.config import locations
    from foundations_tui.sync import pull, unpacking

    if not row.complete:
        pull.catch_up(session, row.host, jobs=[row.job])
    source = locations.log_file(row.job, attempt)
    try:
        with unpacking.Folder(target) as folder:
            copied = unpacking.copy(source, folder, "output.log") if source.exists() else None
            if copied is None:  # it wrote nothing
                with folder.new_file("output.log"):
                    found.files.append(("output.log", 0))
    except unpacking.Refused as error:
        raise FoundationsError(f"{target}/output.log: {error}") from None
    except OSError as error:
        raise FoundationsError(f"{target}: {error.strerror}") from None
    if copied is not None:
        _add(found, copied, "")
