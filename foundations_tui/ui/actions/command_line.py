"""The line behind ``:``: the app's own commands, submits through its own session, every other verb as a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from foundations_tui.errors import UsageError
from foundations_tui.ui.actions import background
from foundations_tui.ui.actions.submit import SubmitActions
from foundations_tui.ui.input.command_line import Command, parse, suggestions
from foundations_tui.ui.messages import HostsChanged
from foundations_tui.ui.widgets.prompt import Question
from foundations_tui.ui.workspace import Workspace


class CommandLine:
    """Asks for lines, and carries them out."""

    def __init__(
        self,
        workspace: Workspace,
        verbs: Mapping[str, object],
        own: Mapping[str, Callable[[str], None]],
        submit: SubmitActions,
    ) -> None:
        """Make one.

        Args:
            workspace: the app.
            verbs: the verbs of the command line.
            own: what the app has beside them; each takes the rest of the line.
            submit: submits.
        """
        self._workspace = workspace
        self._verbs = verbs
        self._own = own
        self._submit = submit

    def ask(self, line: str = "") -> None:
        """Ask for a verb and its words."""

        def submit(text: str) -> None:
            if text.strip():
                self.run(text)

        hint = "% the chosen jobs   tab completes   --help"
        own = list(self._own)
        question = Question(":", line, submit, suggest=lambda text: suggestions(text, self._verbs, own), hint=hint)
        self._workspace.main.prompt.ask(question)

    def run(self, line: str) -> None:
        """Carry out a line."""
        verb, _, rest = line.strip().partition(" ")
        if verb in self._own:
            self._own[verb](rest.strip())
            return
        try:
            command = parse(line, self._verbs, self._workspace.main.chosen)
        except UsageError as error:
            self._workspace.say(f"{error}" + (f" ({error.hint})" if error.hint else ""), failed=True)
            return
        self._workspace.note(line)
        if self._submit.takes(command):
            self._submit.run(command.words)
        elif command.needs_terminal:
            background.run_verb_in_terminal(self._workspace, command)
        else:
            background.show_verb(self._workspace, command, lambda: self._have_run(command))

    def _have_run(self, command: Command) -> None:
        if command.verb == "hosts":
            self._workspace.post_message(HostsChanged())
        self._workspace.look()
