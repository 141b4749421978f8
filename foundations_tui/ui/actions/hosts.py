"""What is done to hosts from the app: add, test, pause, remove, a shell there."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from foundations_tui.ui.input.command_line import Command
from foundations_tui.ui.messages import HostsChanged
from foundations_tui.ui.screens.command_output import Output
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.menu import Choice, Menu, choices_of

if TYPE_CHECKING:
    from foundations_tui.ui.app import FoundationsApp


class Hosting:
    """Carries out what is asked for."""

    def __init__(self, app: FoundationsApp) -> None:
        self._app = app

    def add(self, line: str) -> None:
        """Add a host, and connect to it.

        Args:
            line: its name, its address, and options of ``hosts add``.
        """
        try:
            argv = shlex.split(line)
        except ValueError as error:
            self._app.say(f"{line}: {error}", failed=True)
            return
        if argv:
            self._run(["hosts", "add", *argv], f"{argv[0]} is added; connecting")

    def offer(self, names: list[str]) -> None:
        """Offer the hosts, then what can be done to the chosen one."""
        if len(names) == 1:
            return self._offer_actions(names[0])
        menu = Menu("which host?", choices_of(names))
        self._app.push_screen(menu, lambda name: self._offer_actions(name) if name else None)

    def _offer_actions(self, name: str) -> None:
        choices = [
            Choice("t", "test it: connect, and say what is there", "test"),
            Choice("s", "open a shell there", "shell"),
            Choice("g", "its GPUs, and whose they are", "gpus"),
            Choice("p", "pause it: start no more jobs there", "pause"),
            Choice("r", "resume it", "resume"),
            Choice("a", "what its agent does and holds", "agent"),
        ]
        if name != "local":
            choices.append(Choice("d", "take it out of hosts.toml; its jobs run on", "remove"))
        self._app.push_screen(Menu(name, choices), lambda answer: self._act(answer or "", name))

    def _act(self, action: str, name: str) -> None:
        shown = {"test": ("hosts", "test", name), "gpus": ("gpus", name), "agent": ("hosts", "agent", "status", name)}
        if action in shown:
            verb, *rest = shown[action]
            self._app.push_screen(Output(Command(verb, tuple(rest))), lambda _: self._app.look())
        elif action == "shell":
            self._app.deeds.run_in_terminal(Command("shell", (name,)).argv)
        elif action in ("pause", "resume"):
            self._run([action, "--host", name], f"{name} {'is paused' if action == 'pause' else 'goes on'}")
        elif action == "remove":
            self._app.push_screen(
                Confirm(f"Take {name} out of hosts.toml?", "its jobs run on, and stay listed here"),
                lambda yes: self._run(["hosts", "remove", name], f"{name} is removed") if yes else None,
            )

    def _run(self, argv: list[str], done: str) -> None:
        self._app.deeds.run_quietly(argv, done, lambda: self._app.post_message(HostsChanged()))
