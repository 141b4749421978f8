"""The palette: what it offers, and what each of its entries does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from foundations_tui.store import views
from foundations_tui.ui.actions.command_line import CommandLine
from foundations_tui.ui.actions.own_commands import OwnCommands
from foundations_tui.ui.models import palette
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.models.palette import Entry
from foundations_tui.ui.screens.palette import Palette
from foundations_tui.ui.workspace import Offered, Workspace

_MOVES = re.compile(
    r"(?:move|page|end|shift|scroll|cursor|aside|help|command_palette)\b(?!\(')|dismiss|top$|app\.palette"
)
"""Actions that only move: whoever opens the palette is after something else."""
_PAGE = re.compile(r"page\('(\w+)'\)")


class PaletteActions:
    """Opens the palette, and does what is taken from it."""

    def __init__(self, workspace: Workspace, verbs: Mapping[str, object], line: CommandLine, own: OwnCommands) -> None:
        """Make it.

        Args:
            workspace: the app.
            verbs: those of the command line.
            line: takes a verb.
            own: the user's programs.
        """
        self._workspace = workspace
        self._verbs = verbs
        self._line = line
        self._own = own
        self._offered: Sequence[Offered] = ()

    def open(self) -> None:
        """Offer everything that works here, and everything that has a name."""
        self._offered = self._workspace.offered()
        self._workspace.push_screen(Palette(self._workspace.reader, self._entries()), self._take)

    def _entries(self) -> list[Entry]:
        entries: dict[tuple[str, str], Entry] = {}
        for number, one in enumerate(self._offered):
            page = _PAGE.fullmatch(one.action)
            if page is not None:
                entries[palette.PAGE, one.action] = Entry(palette.PAGE, page[1], str(number), one.keys)
            elif not _MOVES.match(one.action) and one.action != "command('palette')":
                entries.setdefault(
                    (palette.COMMAND, one.action), Entry(palette.COMMAND, one.words, str(number), one.keys)
                )
        named = [Entry(palette.OWN, name, name, own.key) for name, own in self._own.by_name.items()]
        named += [Entry(palette.HOST, name, name) for name in self._workspace.main.hosts]
        named += [Entry(palette.VERB, f"{name}  {_words_of(verb)}", name, ":") for name, verb in self._verbs.items()]
        named += [Entry(palette.THEME, name, name) for name in sorted(self._workspace.available_themes)]
        return [*entries.values(), *named]

    def _take(self, entry: Entry | None) -> None:
        if entry is None:
            return
        if entry.kind in (palette.COMMAND, palette.PAGE):
            self._workspace.do_offered(self._offered[int(entry.target)])
            return
        main = self._workspace.back_to_main()
        if entry.kind == palette.OWN:
            self._own.run(entry.target)
        elif entry.kind == palette.JOB:
            self._workspace.show_job(entry.target)
        elif entry.kind == palette.HOST:
            main.jobs.show(JobsView(query=f'host="{entry.target}"'))
            main.action_page("jobs")
        elif entry.kind == palette.VIEW:
            self._show_view(entry.target)
        elif entry.kind == palette.MODEL:
            main.action_page("models")
        elif entry.kind == palette.VERB:
            self._line.ask(f"{entry.target} ")
        else:
            self._line.run(f"theme {entry.target}")

    def _show_view(self, name: str) -> None:
        def show(saved: dict[str, views.SavedView]) -> None:
            if name in saved:
                self._workspace.main.jobs.show(JobsView.of(saved[name]))
                self._workspace.main.action_page("jobs")

        self._workspace.read_for_key("views", views.saved, show)


def _words_of(verb: object) -> str:
    """Return what a verb does, as the help has it."""
    return verb[1] if isinstance(verb, tuple) else ""
