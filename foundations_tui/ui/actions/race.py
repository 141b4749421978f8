"""What is done in a race: stop a lane, try the leader's neighbour, end those that are too far behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from foundations_tui.analysis import race
from foundations_tui.analysis.race import Behind
from foundations_tui.jobs.ownership import actor_of
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.ui.actions import background
from foundations_tui.ui.actions.jobs import JobActions
from foundations_tui.ui.actions.submit import SubmitActions
from foundations_tui.ui.models.race import Sweep
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.theme import name_of
from foundations_tui.ui.workspace import Workspace

_NAMED = 6


class RaceActions:
    """Does it with the sweep that is shown."""

    def __init__(self, workspace: Workspace, session: Session, jobs: JobActions, submit: SubmitActions) -> None:
        self._workspace = workspace
        self._session = session
        self._jobs = jobs
        self._submit = submit

    def stop_lane(self) -> None:
        """Ask before the lane under the cursor is stopped."""
        self._jobs.offer_stop(self._workspace.main.chosen)

    def clone_leader(self) -> None:
        """Show the form filled in from the leader, with the next value of one of its parameters."""
        sweep = self._workspace.main.sweep
        beside = race.neighbour(sweep.race) if sweep is not None else None
        if beside is None:
            self._workspace.say("nobody leads yet, or no parameter is a number")
            return
        self._submit.edit_and_run([beside.job], {beside.key: beside.value})

    def prune(self) -> None:
        """Offer to stop the jobs that are too far behind, with what that frees."""
        sweep = self._workspace.main.sweep
        if sweep is None or not sweep.rows:
            self._workspace.say("there is no sweep")
            return
        if not sweep.direction:
            known = sweep.metric or "its metric"
            self._workspace.say(
                f'whether {known} is better low or high is not known: [metrics.direction] {known} = "min"'
            )
            return
        found = race.behind(sweep.entrants, sweep.direction)
        if not found:
            self._workspace.say("nobody is behind: a quarter of its steps done, worse than the median, at two looks")
            return
        ids = [job for one in found for job in one.jobs]

        def ask(rows: list[JobRow]) -> None:
            names = {row.job: name_of(row) for row in rows}
            detail = "\n".join(_words(one, names, sweep) for one in found[:_NAMED])
            detail += f"\nand {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            who = "1 job that is" if len(rows) == 1 else f"{len(rows)} jobs that are"
            question = f"Stop {who} behind?{_freed(found)}"
            self._workspace.push_screen(Confirm(question, detail), lambda yes: self._stop(rows) if yes else None)

        def read(conn: sqlite3.Connection) -> list[JobRow]:
            return queries.jobs_by_id(conn, ids)

        self._workspace.read_for_key("chosen", read, ask)

    def _stop(self, rows: Sequence[JobRow]) -> None:
        background.do(self._workspace, lambda: _prune(self._session, rows))


def _words(one: Behind, names: dict[str, str], sweep: Sweep) -> str:
    """Return why a job, or several that differ only in their seed, are behind."""
    who = ", ".join(names.get(job, job[:6]) for job in one.jobs)
    freed = f", frees {_time(one)}" if one.seconds else ""
    worse = f"{humanize.rounded(one.margin)} worse than the median at step {one.step:,}"
    return f"{who}: {sweep.metric} {one.best:.4g}, {worse}{freed}"


def _time(one: Behind) -> str:
    return _of_gpus(one.seconds or 0.0) if one.has_gpus else humanize.about(one.seconds or 0.0)


def _freed(found: Sequence[Behind]) -> str:
    on_gpus = sum(one.seconds or 0.0 for one in found if one.has_gpus)
    return f" It frees {_of_gpus(on_gpus)}." if on_gpus else ""


def _of_gpus(seconds: float) -> str:
    return f"{seconds / 3600:.1f} GPU hours" if seconds >= 360 else f"{humanize.about(seconds)} of a GPU"


def _prune(session: Session, rows: Sequence[JobRow]) -> str:
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.outcome import raise_first

    outcomes = operations.stop_behind(session, actor_of(session.hosts), rows)
    raise_first(outcomes)
    return f"{humanize.plural(len(outcomes), 'job')} stopped and tagged {operations.PRUNED}; e runs one again"
