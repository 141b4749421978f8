"""What several verbs share: names of jobs, hosts and projects with their completion, and the session."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError

if TYPE_CHECKING:
    from foundations_tui.hosts.asking import LockedKey, ServerPrompt, UnknownKey
    from foundations_tui.session import Session
    from foundations_tui.store.queries import JobFilter
    from foundations_tui.store.rows import JobRow

UNFINISHED = ("submitting", "queued", "preparing", "running")
FINAL = ("completed", "failed", "stopped", "lost")
"""States that completion offers."""
_MOST_COMPLETIONS = 200


class JobName(click.ParamType[str]):
    """An id, a prefix of one, a unique name, @last or @last-failed."""

    name = "job"

    def __init__(self, states: tuple[str, ...] = (), trashed: bool = False) -> None:
        """Complete jobs in some states, none means all; or those that are deleted."""
        self._states = states
        self._query = "is:trashed" if trashed else ""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from foundations_tui.store import queries

        with _quiet_reader() as conn:
            if conn is None:
                return []
            rows = queries.jobs(conn, queries.JobFilter(self._states, query=self._query), limit=2000, details=False)
            items = [CompletionItem(word) for word in ("@last", "@last-failed") if word.startswith(incomplete or "?")]
            for row in rows:
                if row.job.startswith(incomplete):
                    words = f"{row.state} {row.name or ' '.join(row.command)}"
                    items.append(CompletionItem(row.job, help=_for_shell(words)))
                elif incomplete and row.name.startswith(incomplete) and row.name == _for_shell(row.name):
                    items.append(CompletionItem(row.name, help=_for_shell(row.state)))
            return items[:_MOST_COMPLETIONS]


class Size(click.ParamType[int]):
    """An amount of bytes: 20G, 512M."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from foundations_tui.text import humanize

        try:
            return value if isinstance(value, int) else humanize.parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[float]):
    """A span of time in seconds: 90, 45m, 2h30m, 1d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from foundations_tui.text import humanize

        try:
            return float(value) if isinstance(value, int | float) else humanize.parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HostName(click.ParamType[str]):
    """A host of hosts.toml."""

    name = "host"

    def __init__(self, also: tuple[str, ...] = ()) -> None:
        self._also = also

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from foundations_tui.config.hosts import load_hosts

        try:
            names = [*load_hosts().hosts, *self._also]
        except FoundationsError:
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class HostOrJob(HostName):
    """A host of hosts.toml, or a job."""

    name = "host or job"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        jobs = JobName(("preparing", "running", "failed", "completed")).shell_complete(ctx, param, incomplete)
        return [*super().shell_complete(ctx, param, incomplete), *jobs]


class LocalPath(click.ParamType[str]):
    """A path on this machine, completed by the shell itself."""

    name = "path"

    def __init__(self, kind: str = "file") -> None:
        """Complete files, or folders with "dir"."""
        self._kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type=self._kind)]


class ProjectName(click.ParamType[str]):
    """A project that has jobs."""

    name = "project"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from foundations_tui.store import queries

        with _quiet_reader() as conn:
            names = [] if conn is None else [row.project for row in queries.projects(conn)]
        return [CompletionItem(_for_shell(name)) for name in names if name.startswith(incomplete)]


class ServiceName(click.ParamType[str]):
    """A service: NAME, or NAME@HOST."""

    name = "service"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from foundations_tui.store import services

        with _quiet_reader() as conn:
            names = [] if conn is None else [row.name for row in services.services(conn)]
        return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


class ScheduleName(click.ParamType[str]):
    """A schedule: NAME, or NAME@HOST."""

    name = "schedule"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from foundations_tui.store import schedules

        with _quiet_reader() as conn:
            names = [] if conn is None else [row.name for row in schedules.schedules(conn)]
        return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


class ModelName(click.ParamType[str]):
    """A model: NAME, or NAME@ALIAS."""

    name = "model"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from foundations_tui.store import models

        with _quiet_reader() as conn:
            rows = [] if conn is None else models.models_of(conn)
        names = [row.name for row in rows]
        names += [f"{row.name}@{alias}" for row in rows for alias in row.model.aliases]
        return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


@contextlib.contextmanager
def _quiet_reader() -> Iterator[sqlite3.Connection | None]:
    """Give the store to a completion; one that fails completes nothing and says nothing."""
    from foundations_tui.store.db import open_reader

    try:
        connection = open_reader() if locations.store_file().exists() else None
    except (FoundationsError, OSError):
        connection = None
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _for_shell(text: str) -> str:
    """Return a text that no completion script can trip over."""
    return "".join(c if c.isprintable() and c not in ":\\`$" else " " for c in text)[:60]


job_argument = click.argument("job", type=JobName())


def jobs_argument(*states: str, required: bool = True, trashed: bool = False) -> Callable[..., Any]:
    """Return the argument for several jobs; those in some states are completed, or those that are deleted."""
    metavar = "JOB..." if required else "[JOB...]"
    return click.argument("jobs", type=JobName(states, trashed), nargs=-1, required=required, metavar=metavar)


where_option = click.option("--where", default="", metavar="QUERY", help="Jobs that a query finds.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def chosen_jobs(
    conn: sqlite3.Connection, jobs: tuple[str, ...], where: str, yes: bool, verb: str, trashed: bool = False
) -> list[JobRow]:
    """Return the jobs that a verb is to work on: the named ones, or those that a query finds, shown and asked about.

    Args:
        conn: a connection of the store.
        jobs: as the user named them.
        where: a query; empty when there is none.
        yes: do not ask.
        verb: what would be done, for the question.
        trashed: a query looks among the deleted ones, not among the others.
    Raises:
        UsageError: neither jobs nor a query, or nobody to ask. NotFoundError: there is no such job.
    """
    from foundations_tui.store import queries

    if bool(jobs) == bool(where):
        raise UsageError(f"{verb} takes jobs, or --where QUERY", f"foundations {verb} --help")
    if jobs:
        return [queries.find(conn, job) for job in dict.fromkeys(jobs)]
    rows = queries.jobs(conn, project_filter(conn, query=where, trashed=trashed))
    rows = [row for row in rows if row.trashed_at or not trashed]
    if not rows:
        raise NotFoundError(f"no job is found by {where!r}")
    if not yes:
        from foundations_tui.cli import output

        need_terminal(f"{verb} --where asks first")
        output.print_jobs(conn, rows[:_PREVIEW])
        more = f" ({len(rows) - _PREVIEW} more not shown)" if len(rows) > _PREVIEW else ""
        click.confirm(
            f"{verb} {'this job' if len(rows) == 1 else f'these {len(rows)} jobs'}{more}?", abort=True, err=True
        )
    return rows


_PREVIEW = 20


def project_filter(conn: sqlite3.Connection, **wanted: Any) -> JobFilter:
    """Return a filter of jobs that knows which way metrics get better: foundations.toml says so, or the jobs do."""
    from foundations_tui.config.project import directions_of
    from foundations_tui.store import queries

    try:
        own = directions_of(Path.cwd())
    except (FoundationsError, OSError):
        own = {}  # only submit refuses a file that is wrong
    return queries.JobFilter(**wanted, directions={**queries.directions(conn, wanted.get("project", "")), **own})


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


sync_option = click.option("--sync", "sync_first", is_flag=True, help="Ask the hosts first.")


def reader(sync_first: bool) -> sqlite3.Connection:
    """Return a connection that reads the store, with the runs of this machine; the hosts are asked when wanted."""
    from foundations_tui.store.db import open_reader

    if (locations.data_folder() / "runs").exists():
        from foundations_tui.ingest import local_runs  # 15 ms

        local_runs.ingest()
    if sync_first:
        from foundations_tui.sync import pull

        with open_session() as session:
            for error in pull.catch_up_all(session, list(session.hosts.hosts)).values():
                say(f"warning: {error}")
    return open_reader()


def connecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb a ``session`` that is closed at its end, and the option about host keys."""

    return _connecting(command, warns=True)


def connecting_to_submit(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb a ``session`` as ``connecting`` does; what it does refuses unknown keys that others warn of."""
    return _connecting(command, warns=False)


def _connecting(command: Callable[..., Any], warns: bool) -> Callable[..., Any]:
    @click.option("--accept-new-host-key", is_flag=True, help="Trust an unknown host key, and remember it.")
    @functools.wraps(command)
    def wrapped(*args: Any, accept_new_host_key: bool, **options: Any) -> Any:
        with open_session(accept_new_host_key, warns) as session:
            return command(*args, session=session, **options)

    return wrapped


@contextlib.contextmanager
def open_session(accept_new_host_key: bool = False, warns: bool = True) -> Iterator[Session]:
    """Give a session that talks on stderr and asks about unknown host keys on a terminal.

    Args:
        accept_new_host_key: whether such keys are trusted without a question.
        warns: whether to warn of unknown keys in hosts.toml.
    """
    from foundations_tui.hosts.asking import Asker
    from foundations_tui.session import Session

    asker = Asker(_accept if accept_new_host_key else _ask, _ask_passphrase, _ask_secret)
    session = Session(asker=asker, say=say)
    for error in session.hosts.unknown if warns else ():
        say(f"warning: {error}" + (f" ({error.hint})" if error.hint else ""))
    try:
        yield session
    finally:
        session.close()


def say(words: str) -> None:
    """Talk on stderr."""
    from foundations_tui.text.sanitize import several_lines

    click.echo(several_lines(words), err=True)


def need_terminal(asks: str, hint: str = "say --yes") -> None:
    """Raise UsageError when there is nobody to ask.

    Args:
        asks: what is asked before what: "delete asks before it deletes".
        hint: how to do without.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{asks}, and there is no terminal", hint)


def _ask(key: UnknownKey) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"The host key of {key.host} is not known yet: {key.kind}\n  {key.fingerprint}", err=True)
    return click.confirm("Is it the right one? It will be remembered", default=False, err=True)


def _ask_passphrase(key: LockedKey) -> str | None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    wrong = "that is not it; " if key.attempt > 1 else ""
    passphrase: str = click.prompt(
        f"{wrong}passphrase of {key.path}", hide_input=True, default="", show_default=False, err=True
    )
    return passphrase or None


def _ask_secret(prompt: ServerPrompt) -> str | None:
    """Ask what a server asks; what is typed is not shown."""
    from foundations_tui.text.sanitize import one_line

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    if prompt.about:
        say(prompt.about)
    wrong = "that was not it; " if prompt.attempt > 1 else ""
    who = f"{prompt.user}@{prompt.address}" if prompt.user else prompt.address
    text = one_line(f"{wrong}{prompt.host} ({who}) asks: {prompt.text.rstrip(': ')}")
    secret: str = click.prompt(text, hide_input=True, default="", show_default=False, err=True)
    return secret or None


def _accept(key: UnknownKey) -> bool:
    say(f"the host key of {key.host} is now trusted: {key.kind} {key.fingerprint}")
    return True


def parse_pair(text: str, option: str, value_needed: bool = True) -> tuple[str, str | None]:
    """Return (key, value) of "KEY=VALUE".

    Raises:
        click.UsageError: it is none.
    """
    key, equals, value = text.partition("=")
    if not key or (value_needed and not equals):
        raise click.UsageError(f"{option} takes KEY=VALUE; got {text!r}")
    return key, value if equals else None
