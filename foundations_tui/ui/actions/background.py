"""What runs in the background of the app: short work in threads, which announces its end; longer work in a window;
verbs as processes."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

from textual.app import SuspendNotSupported

from foundations_tui.errors import as_ours
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.input.command_line import Command
from foundations_tui.ui.messages import ActionEnded
from foundations_tui.ui.screens.task_output import NextStep, TaskOutput
from foundations_tui.ui.tasks import Ended, Operation, OperationTask, ProcessTask, Task
from foundations_tui.ui.workspace import Workspace

_log = logging.getLogger(__name__)


def do(workspace: Workspace, action: Callable[[], str], after: threading.Thread | None = None) -> threading.Thread:
    """Run an action in a thread, and say its result or its error.

    Args:
        workspace: the app.
        action: returns words for the user.
        after: the thread of something that has to be done before.
    """

    def run() -> None:
        if after is not None:
            after.join()
        try:
            done = action()
        except Exception as error:
            ours = as_ours(error)
            _log.warning("%s", ours, exc_info=ours is not error, extra={"action": "app"})
            words = f"{ours} ({ours.hint})" if ours.hint else str(ours)
            workspace.post_message(ActionEnded(words, failed=True))
            return
        workspace.note(done)
        workspace.post_message(ActionEnded(done))

    thread = threading.Thread(target=run, daemon=True)  # no worker of Textual's: see ui/tasks.py
    thread.start()
    return thread


def show(
    workspace: Workspace,
    title: str,
    operation: Operation,
    next_step: NextStep | None = None,
    closed: Callable[[TaskOutput], None] | None = None,
    shows_end: bool = False,
) -> None:
    """Do something in a thread, behind a window that shows how far it is and what it came to.

    Args:
        workspace: the app.
        title: what stands above the window.
        operation: what to do.
        next_step: where enter leads when it has ended well.
        closed: takes the window when it is closed.
        shows_end: whether the last lines count, not the first.
    """
    window = TaskOutput(title, functools.partial(OperationTask, operation), next_step, shows_end=shows_end)
    workspace.push_screen(window, lambda _: closed(window) if closed is not None else workspace.look())


def show_verb(workspace: Workspace, command: Command, closed: Callable[[], None]) -> None:
    """Run a verb of the command line as a process, behind a window with what it says."""

    def start(ended: Ended, columns: int) -> Task:
        return ProcessTask(_argv(command), ended, columns)

    title = humanize.command(["foundations", command.verb, *command.words])
    workspace.push_screen(TaskOutput(title, start, fits_window="--help" in command.words), lambda _: closed())


def run_verb_in_terminal(workspace: Workspace, command: Command) -> None:
    """Give a verb the terminal until it ends."""
    run_in_terminal(workspace, _argv(command))


def run_in_terminal(workspace: Workspace, argv: list[str], variables: Mapping[str, str] | None = None) -> None:
    """Give a program the terminal until it ends; what went wrong stays to be read.

    Args:
        workspace: the app.
        argv: the program and its arguments.
        variables: its environment; the app's own without them.
    """

    def run() -> None:
        try:
            code = subprocess.run(argv, env=variables).returncode
            words = f"exit {code}" if code else ""
        except (OSError, ValueError) as error:
            words = f"{argv[0]}: {getattr(error, 'strerror', None) or error}"
        if words:
            with contextlib.suppress(EOFError):
                input(f"\n{one_line(words)}; enter goes back ")

    with_terminal(workspace, run)


def with_terminal(workspace: Workspace, run: Callable[[], None]) -> None:
    """Do something while the app leaves the terminal alone; Ctrl-C there is for what runs in it, not for the app."""
    try:
        with workspace.suspend(), _deaf_to_interrupts():
            run()
    except SuspendNotSupported:
        workspace.say("this needs a terminal of its own, which a browser has not", failed=True)
    workspace.refresh()


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Have Ctrl-C do nothing here. A program that is started hears it: what is handled, it does not inherit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _argv(command: Command) -> list[str]:
    return [sys.executable, "-m", "foundations_tui", command.verb, *command.words]
