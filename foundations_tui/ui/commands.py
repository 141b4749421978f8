"""The commands of the app, each once: keys of the main screen and the palette name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.binding import Binding, BindingType

if TYPE_CHECKING:
    from foundations_tui.ui.actions.command_line import CommandLine
    from foundations_tui.ui.actions.hosts import HostActions
    from foundations_tui.ui.actions.inspect import JobInspector
    from foundations_tui.ui.actions.jobs import JobActions
    from foundations_tui.ui.actions.models import ModelActions
    from foundations_tui.ui.actions.prompts import Prompts
    from foundations_tui.ui.actions.services import ServiceActions
    from foundations_tui.ui.actions.submit import SubmitActions


@dataclass(frozen=True)
class Actions:
    """Who carries commands out."""

    prompts: Prompts
    jobs: JobActions
    hosts: HostActions
    services: ServiceActions
    models: ModelActions
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
    "service_actions": AppCommand(lambda to: to.services.offer()),
    "model_actions": AppCommand(lambda to: to.models.offer()),
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

KEYS: list[BindingType] = [
    Binding("slash", "command('find')", "filter", key_display="/", id="main.find"),
    Binding("ampersand", "command('filter_log')", "only lines with", show=False, id="main.filter_log"),
    Binding("s", "command('sort')", "sort", show=False, id="main.sort"),
    Binding("c", "command('columns')", "columns", show=False, id="main.columns"),
    Binding("b", "command('group')", "group by", show=False, id="main.group"),
    Binding("w", "command('views')", "views", show=False, id="main.views"),
    Binding("D", "command('archived')", "archived", show=False, id="main.archived"),
    Binding("x", "act", "actions", id="main.act"),
    Binding("e", "command('edit')", "edit and rerun", show=False, id="main.edit"),
    Binding("ctrl+n", "command('new')", "new job", show=False, id="main.new"),
    Binding("colon", "command('command')", "command", key_display=":", id="main.command"),
    Binding("d", "command('differences')", "differences", show=False, id="main.difference"),
    Binding("y", "command('copy')", "copy", show=False, id="main.copy"),
    Binding("u", "command('undo')", "undo", show=False, id="main.undo"),
    Binding("P", "command('pager')", "pager", show=False, id="main.pager"),
    Binding("E", "command('editor')", "editor", show=False, id="main.editor"),
    Binding("ctrl+t", "command('new_host')", "new host", show=False, id="main.new_host"),
]
"""Keys of the main screen that run commands."""
