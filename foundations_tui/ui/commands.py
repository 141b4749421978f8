"""The commands of the app, each once: keys of the main screen and the palette name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foundations_tui.ui.actions.command_line import CommandLine
    from foundations_tui.ui.actions.hosts import HostActions
    from foundations_tui.ui.actions.inspect import JobInspector
    from foundations_tui.ui.actions.jobs import JobActions
    from foundations_tui.ui.actions.prompts import Prompts
    from foundations_tui.ui.actions.submit import SubmitActions


@dataclass(frozen=True)
class Actions:
    """Who carries commands out."""

    prompts: Prompts
    jobs: JobActions
    hosts: HostActions
    submit: SubmitActions
    inspector: JobInspector
    command_line: CommandLine


@dataclass(frozen=True)
class AppCommand:
    """Something that the app does when it is asked to."""

    run: Callable[..., Any]
    """Takes who carries it out, and what the command is given."""
    title: str = ""
    """What the palette calls it; empty for what only keys do."""
    help: str = ""


COMMANDS: dict[str, AppCommand] = {
    "find": AppCommand(lambda to: to.prompts.find()),
    "filter": AppCommand(lambda to: to.prompts.filter(), "Filter jobs", "as in docs/queries.md"),
    "clear_filter": AppCommand(lambda to: to.prompts.clear()),
    "filter_log": AppCommand(lambda to: to.prompts.log_filter()),
    "sort": AppCommand(lambda to: to.prompts.sort(), "Sort jobs"),
    "columns": AppCommand(lambda to: to.prompts.columns(), "Choose columns"),
    "group": AppCommand(lambda to: to.prompts.group(), "Group jobs"),
    "views": AppCommand(lambda to: to.prompts.views(), "Saved views"),
    "archived": AppCommand(lambda to: to.prompts.toggle_archived()),
    "new": AppCommand(lambda to: to.submit.new(), "New job"),
    "new_host": AppCommand(lambda to: to.hosts.ask(), "New host"),
    "edit": AppCommand(lambda to, jobs=None: to.submit.edit_and_run(jobs), "Edit and rerun"),
    "job_actions": AppCommand(lambda to, jobs=None: to.jobs.offer_actions(jobs), "Actions on the chosen jobs"),
    "host_actions": AppCommand(lambda to: to.hosts.offer()),
    "put_in_queue": AppCommand(lambda to, row, where, other: to.jobs.put_in_queue(row, where, other)),
    "copy": AppCommand(lambda to: to.jobs.offer_copies(), "Copy"),
    "undo": AppCommand(lambda to: to.jobs.undo(), "Undo"),
    "command": AppCommand(lambda to: to.command_line.ask()),
    "pager": AppCommand(lambda to: to.inspector.open_log("PAGER", "less -R")),
    "editor": AppCommand(lambda to: to.inspector.open_log("EDITOR", "vi")),
    "differences": AppCommand(lambda to, jobs=None: to.inspector.offer_differences(jobs)),
    "artifacts": AppCommand(lambda to, row: to.inspector.offer_artifacts(row)),
    "files": AppCommand(lambda to, row: to.inspector.show_files(row)),
}
"""By the names that keys give them."""
