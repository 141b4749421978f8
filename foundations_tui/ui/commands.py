"""The commands of the app, each once: keys of the main screen and the palette name them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.binding import Binding, BindingType

if TYPE_CHECKING:
    from foundations_tui.config.app import OwnCommand
    from foundations_tui.session import Session
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
    from foundations_tui.ui.workspace import Workspace


class Actions:
    """Who carries commands out; each is imported when it is first needed: the first picture waits for none of them."""

    def __init__(
        self,
        workspace: Workspace,
        session: Session,
        verbs: Mapping[str, object],
        own_commands: Mapping[str, Callable[[str], None]],
        programs: Sequence[OwnCommand],
    ) -> None:
        """Make none of them yet.

        Args:
            workspace: the app.
            session: the client's.
            verbs: those of the command line.
            own_commands: what the line behind the colon has beside them; each takes the rest of the line.
            programs: the user's.
        """
        self._workspace = workspace
        self._session = session
        self._verbs = verbs
        self._own_commands = own_commands
        self._programs = programs

    @functools.cached_property
    def prompts(self) -> Prompts:
        """Asks for filters, orders, columns and searches."""
        from foundations_tui.ui.actions.prompts import Prompts

        return Prompts(self._workspace)

    @functools.cached_property
    def jobs(self) -> JobActions:
        """Acts on jobs."""
        from foundations_tui.ui.actions.jobs import JobActions

        return JobActions(self._workspace, self._session)

    @functools.cached_property
    def hosts(self) -> HostActions:
        """Acts on hosts."""
        from foundations_tui.ui.actions.hosts import HostActions

        return HostActions(self._workspace, self._session)

    @functools.cached_property
    def services(self) -> ServiceActions:
        """Acts on services."""
        from foundations_tui.ui.actions.services import ServiceActions

        return ServiceActions(self._workspace, self._session)

    @functools.cached_property
    def models(self) -> ModelActions:
        """Acts on models."""
        from foundations_tui.ui.actions.models import ModelActions

        return ModelActions(self._workspace, self._session, self.services)

    @functools.cached_property
    def submit(self) -> SubmitActions:
        """Submits."""
        from foundations_tui.ui.actions.submit import SubmitActions

        return SubmitActions(self._workspace, self._session)

    @functools.cached_property
    def inspector(self) -> JobInspector:
        """Shows what belongs to jobs."""
        from foundations_tui.ui.actions.inspect import JobInspector

        return JobInspector(self._workspace, self._session)

    @functools.cached_property
    def command_line(self) -> CommandLine:
        """Takes lines behind the colon."""
        from foundations_tui.ui.actions.command_line import CommandLine

        return CommandLine(self._workspace, self._verbs, self._own_commands, self.submit)

    @functools.cached_property
    def own(self) -> OwnCommands:
        """Starts the user's programs."""
        from foundations_tui.ui.actions.own_commands import OwnCommands

        return OwnCommands(self._workspace, self._session, self._programs)

    @functools.cached_property
    def palette(self) -> PaletteActions:
        """Offers everything by its name."""
        from foundations_tui.ui.actions.palette import PaletteActions

        return PaletteActions(self._workspace, self._verbs, self.command_line, self.own)

    @functools.cached_property
    def race(self) -> RaceActions:
        """Acts on the sweep whose race is shown."""
        from foundations_tui.ui.actions.race import RaceActions

        return RaceActions(self._workspace, self._session, self.jobs, self.submit)

    def close(self) -> None:
        """Let all go that is reached from here."""
        if "services" in vars(self):
            self.services.close()

    @property
    def urls(self) -> dict[tuple[str, str], str]:
        """Where services are reached from here, by name and host."""
        return self.services.urls if "services" in vars(self) else {}


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
    "artifacts": AppCommand(lambda to, row: to.inspector.list_artifacts(row)),
    "open_artifact": AppCommand(lambda to, row, artifact: to.inspector.open_artifact(row, artifact)),
    "lineage": AppCommand(lambda to, row: to.inspector.show_lineage(row)),
    "files": AppCommand(lambda to, row: to.inspector.show_files(row)),
}
"""By the names that keys give them."""

KEYS: list[BindingType] = [
    Binding("slash", "command('filter')", "filter", key_display="/", tooltip="filter the jobs", id="main.find"),
    Binding("x", "act", "actions", id="main.act"),
    Binding("colon", "command('command')", "command", key_display=":", tooltip="any command", id="main.command"),
    Binding("ctrl+p", "command('palette')", "palette", id="main.palette"),
    Binding("e", "command('edit')", "rerun", tooltip="edit and rerun", id="main.edit"),
    Binding("ctrl+n", "command('new')", "new job", id="main.new"),
    Binding("s", "command('sort')", "sort", tooltip="sort the jobs", id="main.sort"),
    Binding("c", "command('columns')", "columns", tooltip="choose columns", id="main.columns"),
    Binding("b", "command('group')", "group", tooltip="group the jobs", id="main.group"),
    Binding("w", "command('views')", "views", tooltip="saved views", id="main.views"),
    Binding("d", "command('differences')", "diff", tooltip="diff code and logs", id="main.difference"),
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
NEEDS_A_ROW = frozenset(("act", "edit", "differences", "copy", "stop_lane", "clone_leader", "prune"))
"""Commands that are about what stands on a page."""
