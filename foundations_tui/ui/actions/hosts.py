"""What is done to hosts from the app: add, test, pause, remove, a shell there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from foundations_tui.config import hosts as config
from foundations_tui.session import Session
from foundations_tui.text import tables
from foundations_tui.text.options import split_line
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.actions import background
from foundations_tui.ui.input.command_line import Command
from foundations_tui.ui.messages import HostsChanged
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.menu import Choice, Menu, choices_of
from foundations_tui.ui.tasks import Operation, Shown
from foundations_tui.ui.widgets.prompt import Question
from foundations_tui.ui.workspace import Workspace

if TYPE_CHECKING:
    from foundations_tui.submit.progress import Progress


class HostActions:
    """Offers what can be done to hosts, and does it in threads."""

    def __init__(self, workspace: Workspace, session: Session) -> None:
        self._workspace = workspace
        self._session = session

    def ask(self) -> None:
        """Ask for a new host."""
        hint = "NAME user@host:port --identity KEY"
        self._workspace.main.prompt.ask(Question("new host", submit=self.add, hint=hint))

    def add(self, line: str) -> None:
        """Add a host, and connect to it.

        Args:
            line: its name, its address, and options of ``hosts add``.
        """
        if line.strip():
            self._change(lambda: _add(line))

    def offer(self, names: list[str] | None = None) -> None:
        """Offer what can be done to the host under the cursor, or first the hosts."""
        main = self._workspace.main
        names = ([main.place.host] if main.place else main.hosts) if names is None else names
        if len(names) == 1:
            return self._offer_actions(names[0])
        menu = Menu("which host?", choices_of(names))
        self._workspace.push_screen(menu, lambda name: self._offer_actions(name) if name else None)

    def _offer_actions(self, name: str) -> None:
        choices = [
            Choice("t", "test it: connect, and say what is there", "test"),
            Choice("s", "open a shell there", "shell"),
            Choice("g", "its GPUs, and whose they are", "gpus"),
            Choice("p", "pause it: start no more jobs there", "pause"),
            Choice("r", "resume it", "resume"),
            Choice("a", "agent status", "agent"),
        ]
        if name != config.LOCAL:
            choices.append(Choice("d", "take it out of hosts.toml; its jobs run on", "remove"))
        self._workspace.push_screen(Menu(name, choices), lambda answer: self._act(answer or "", name))

    def _act(self, action: str, name: str) -> None:
        if action == "test":
            self._show(f"test {name}", self._test(name))
        elif action == "gpus":
            self._show(f"GPUs of {name}", self._gpus(name))
        elif action == "agent":
            self._show(f"agent of {name}", self._agent(name))
        elif action == "shell":
            background.run_verb_in_terminal(self._workspace, Command("shell", (name,)))
        elif action in ("pause", "resume"):
            background.do(self._workspace, lambda: _pause(self._session, name, action == "pause"))
        elif action == "remove":
            self._workspace.push_screen(
                Confirm(f"Take {name} out of hosts.toml?", "its jobs run on, and stay listed here"),
                lambda yes: self._change(lambda: _remove(name)) if yes else None,
            )

    def _show(self, title: str, operation: Operation) -> None:
        background.show(self._workspace, title, operation)

    def _change(self, action: Callable[[], str]) -> None:
        """Change hosts.toml, and have the app read it again."""

        def run() -> str:
            done = action()
            self._workspace.post_message(HostsChanged())
            return done

        background.do(self._workspace, run)

    def _test(self, name: str) -> Operation:
        def operation(progress: Progress, columns: int) -> Shown:
            from foundations_tui.jobs import on_hosts

            progress.stage(f"connecting to {name}")
            report = on_hosts.test(self._session, name)
            return Shown("\n".join([f"{name} works", *_lines(report.lines, 13)]))

        return operation

    def _gpus(self, name: str) -> Operation:
        def operation(progress: Progress, columns: int) -> Shown:
            from foundations_tui.jobs import on_hosts

            progress.stage(f"asking {name}")
            listing = on_hosts.gpus(self._session, [name])
            if listing.errors:
                raise listing.errors[0]
            cells = [on_hosts.gpu_cells(self._session.store.conn, host, gpu) for host, gpu in listing.gpus]
            table = tables.text(on_hosts.GPU_HEADERS, cells, columns) if cells else "no GPUs"
            return Shown("\n".join([table, *(one_line(problem) for _, problem in listing.problems)]))

        return operation

    def _agent(self, name: str) -> Operation:
        def operation(progress: Progress, columns: int) -> Shown:
            from foundations_tui.jobs import on_hosts

            progress.stage(f"asking {name}")
            return Shown("\n".join(_lines(on_hosts.agent_status(self._session, name).lines, 8)))

        return operation


def _lines(pairs: list[tuple[str, str]], width: int) -> list[str]:
    return [f"{key:<{width}} {one_line(value)}" for key, value in pairs]


def _add(line: str) -> str:
    from foundations_tui.hosts import adding

    name = adding.add_from_words(split_line(line))
    return f"{name} is added; connecting"


def _remove(name: str) -> str:
    config.remove_host(name)
    return f"{name} is removed"


def _pause(session: Session, host: str, paused: bool) -> str:
    from foundations_tui.jobs import on_hosts
    from foundations_tui.jobs.outcome import raise_first

    raise_first(on_hosts.set_paused(session, "", host, paused))
    return f"{host} {'is paused' if paused else 'goes on'}"
