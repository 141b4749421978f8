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
    from foundations_tui.ui.actions.own_commands import OwnCommands
    from foundations_tui.ui.actions.palette import PaletteActions
    from foundations_tui.ui.actions.prompts import Prompts
    from foundations_tui.ui.actions.race import RaceActions
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
    own: OwnCommands
    palette: PaletteActions
    race: RaceActions


@dataclass(frozen=True)
class AppCommand:
    """Something that the app does when it is asked to."""

    run: Callable[..., Any]
    """Takes who carries it out, and what the command is given."""


COMMANDS: dict[str, AppCommand] = {
    "filter": AppCommand(lambda to: to.prompts.filter()),
    "search": AppCommand(lambda to: to.prompts.search()),
    "find_metric": AppCommand(lambda to: to.prompts.metric()),
    "clear_filter": AppCommand(lambda to: to.prompts.clear()),
    "filter_log": AppCommand(lambda to: to.prompts.log_filter()),
    "sort": AppCommand(lambda to: to.prompts.sort()),
    "columns": AppCommand(lambda to: to.prompts.columns()),
    "group": AppCommand(lambda to: to.prompts.group()),
    "views": AppCommand(lambda to: to.prompts.views()),
    "archived": AppCommand(lambda to: to.prompts.toggle_archived()),
    "new": AppCommand(lambda to: to.submit.new()),
    "new_host": AppCommand(lambda to: to.hosts.ask()),
    "edit": AppCommand(lambda to, jobs=None: to.submit.edit_and_run(jobs)),
    "job_actions": AppCommand(lambda to, jobs=None: to.jobs.offer_actions(jobs)),
    "host_actions": AppCommand(lambda to: to.hosts.offer()),
    "service_actions": AppCommand(lambda to: to.services.offer()),
    "model_actions": AppCommand(lambda to: to.models.offer()),
    "put_in_queue": AppCommand(lambda to, row, where, other: to.jobs.put_in_queue(row, where, other)),
    "stop_lane": AppCommand(lambda to: to.race.stop_lane()),
    "clone_leader": AppCommand(lambda to: to.race.clone_leader()),
    "prune": AppCommand(lambda to: to.race.prune()),
    "copy": AppCommand(lambda to: to.jobs.offer_copies()),
    "undo": AppCommand(lambda to: to.jobs.undo()),
    "command": AppCommand(lambda to: to.command_line.ask()),
    "palette": AppCommand(lambda to: to.palette.open()),
    "own": AppCommand(lambda to, name: to.own.run(name)),
    "pager": AppCommand(lambda to: to.inspector.open_log("PAGER", "less -R")),
    "editor": AppCommand(lambda to: to.inspector.open_log("EDITOR", "vi")),
    "differences": AppCommand(lambda to, jobs=None: to.inspector.offer_differences(jobs)),
    "artifacts": AppCommand(lambda to, row: to.inspector.offer_artifacts(row)),
    "files": AppCommand(lambda to, row: to.inspector.show_files(row)),
}
"""By the names that keys give them."""

KEYS: list[BindingType] = [
    Binding("slash", "command('filter')", "filter", key_display="/", tooltip="filter the jobs", id="main.find"),
    Binding("x", "act", "actions", id="main.act"),
    Binding("colon", "command('command')", "command", key_display=":", tooltip="any verb", id="main.command"),
    Binding("ctrl+p", "command('palette')", "palette", id="main.palette"),
    Binding("e", "command('edit')", "rerun", tooltip="edit and rerun", id="main.edit"),
    Binding("ctrl+n", "command('new')", "new job", id="main.new"),
    Binding("s", "command('sort')", "sort", tooltip="sort the jobs", id="main.sort"),
    Binding("c", "command('columns')", "columns", tooltip="choose columns", id="main.columns"),
    Binding("b", "command('group')", "group", tooltip="group the jobs", id="main.group"),
    Binding("w", "command('views')", "views", tooltip="saved views", id="main.views"),
    Binding("d", "command('differences')", "diff", tooltip="differences of code and logs", id="main.difference"),
    Binding("y", "command('copy')", "copy", id="main.copy"),
    Binding("u", "command('undo')", "undo", id="main.undo"),
    Binding("ampersand", "command('filter_log')", "only lines with", key_display="&", id="main.filter_log"),
    Binding("P", "command('pager')", "pager", tooltip="the log in $PAGER", id="main.pager"),
    Binding("E", "command('editor')", "editor", tooltip="the log in $EDITOR", id="main.editor"),
    Binding("ctrl+t", "command('new_host')", "new host", id="main.new_host"),
    Binding("D", "command('archived')", "archived", tooltip="archived jobs too, or not", id="main.archived"),
]
"""Keys of the main screen that run commands."""
ON_PAGES = {
    **dict.fromkeys(("sort", "columns", "group", "views", "archived", "filter"), ("jobs", "overview", "metrics")),
    **dict.fromkeys(("filter_log", "pager", "editor"), ("jobs", "overview", "log")),
    "new_host": ("hosts", "overview", "jobs"),
}
"""Commands that do something on some pages only."""
