"""What is done with services from the app: reach, scale, restart, roll back, stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from foundations_tui.jobs.ownership import actor_of
from foundations_tui.services.ownership import stranger_of
from foundations_tui.session import Session
from foundations_tui.store import services
from foundations_tui.store.services import ServiceRow
from foundations_tui.text import humanize
from foundations_tui.ui.actions import background
from foundations_tui.ui.messages import StoreChanged
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.menu import Choice, Menu
from foundations_tui.ui.workspace import Workspace

if TYPE_CHECKING:
    from foundations_tui.services.connections import Connections


_QUESTIONS = {
    "roll": ("Begin again, one by one,", "some replicas answer all the time"),
    "restart": ("Restart", "nothing answers meanwhile"),
    "rollback": ("Roll back", "the revision before takes over when it is ready"),
    "stop": ("Stop", "what it is doing is finished first"),
}
"""What is asked before something is done: verb, and what comes of it."""


class ServiceActions:
    """Offers what can be done with a service, and does it in threads."""

    def __init__(self, workspace: Workspace, session: Session) -> None:
        self._workspace = workspace
        self._session = session
        self._connections: Connections | None = None

    @property
    def connections(self) -> Connections:
        """What is reached from here; made when it is first needed: it costs the start of the app 30 ms."""
        if self._connections is None:
            from foundations_tui.services.connections import Connections

            self._connections = Connections(self._session)
        return self._connections

    @property
    def urls(self) -> dict[tuple[str, str], str]:
        """Return where services are reached from here, by name and host."""
        return self._connections.urls if self._connections is not None else {}

    def offer(self) -> None:
        """Offer what can be done with the service under the cursor."""
        row = self._workspace.main.service
        if row is None:
            self._workspace.say("no service is chosen")
            return
        url = self.urls.get((row.name, row.host))
        choices = [
            Choice(
                "c", "stop reaching it from here" if url else "reach it from here", "disconnect" if url else "connect"
            )
        ]
        if url:
            choices.append(Choice("y", "copy its address", "copy"))
        choices.append(Choice("l", "the log of its first replica", "log"))
        more = row.view.replicas + 1
        choices.append(Choice("+", f"have {humanize.plural(more, 'replica')}", "more"))
        if row.view.replicas > 1:
            choices.append(Choice("-", f"have {humanize.plural(row.view.replicas - 1, 'replica')}", "fewer"))
        if row.view.replicas:
            choices.append(Choice("o", "begin again one by one, as the next revision", "roll"))
            choices.append(Choice("r", "restart: all replicas at once", "restart"))
        if row.view.before:
            choices.append(Choice("b", f"roll back to revision {row.view.before}", "rollback"))
        if row.view.replicas:
            choices.append(Choice("s", "stop it", "stop"))
        title = f"{row.name} on {self._places(row)}"
        self._workspace.push_screen(Menu(title, choices), lambda answer: self._act(answer, row))

    def close(self) -> None:
        """Let all go that is reached from here."""
        if self._connections is not None:
            self._connections.close_all()

    def _act(self, action: str | None, row: ServiceRow) -> None:
        if action == "connect":
            connections = self.connections  # made here: threads share it
            self._do(lambda: f"{row.name} is reached at {connections.open(row)}")
        elif action == "disconnect":
            self._do(lambda: self._let_go(row))
        elif action == "copy":
            self._workspace.copy_to_clipboard(self.urls.get((row.name, row.host), ""))
            self._workspace.say("copied")
        elif action == "log":
            self._workspace.main.action_page("log")
        elif action in ("more", "fewer"):
            self._scale(row, row.view.replicas + (1 if action == "more" else -1))
        elif action in _QUESTIONS:
            verb, detail = _QUESTIONS[action]
            question = Confirm(f"{verb} {row.name} on {self._places(row)}?{self._whose(row)}", detail)
            self._workspace.push_screen(question, lambda yes: self._change(row, action) if yes else None)

    @staticmethod
    def _places(row: ServiceRow) -> str:
        """Return where a service is, in words."""
        return f"{row.host} and its other hosts" if row.view.spread else row.host

    def _whose(self, row: ServiceRow) -> str:
        """Return whose service it is, where it is somebody else's."""
        owner = stranger_of(actor_of(self._session.hosts), row)
        return f" Not yours, but of {owner}!" if owner else ""

    def _scale(self, row: ServiceRow, count: int) -> None:
        from foundations_tui.services import operations

        def run() -> str:
            for one in services.members(self._session.store.conn, row):
                operations.scale(self._session, actor_of(self._session.hosts, True), one, count)
            return f"{row.name}: {humanize.plural(count, 'replica')} wanted"

        whose = self._whose(row)
        if whose:
            question = Confirm(f"Have {humanize.plural(count, 'replica')} of {row.name}?{whose}")
            self._workspace.push_screen(question, lambda yes: self._do(run) if yes else None)
        else:
            self._do(run)

    def _change(self, row: ServiceRow, action: str) -> None:
        from foundations_tui.services import operations, spread

        actor = actor_of(self._session.hosts, True)

        def one_by_one(members: list[ServiceRow], change: Callable[[ServiceRow], object]) -> None:
            spread.one_by_one(self._session, members, change, lambda host, words: None)

        def run() -> str:
            members = services.members(self._session.store.conn, row)
            if action == "rollback":
                one_by_one(members, lambda one: operations.use_revision(self._session, actor, one, None))
                return f"{row.name} goes back to revision {row.view.before}"
            if action == "roll":
                one_by_one(members, lambda one: operations.restart(self._session, actor, one, one_by_one=True))
                return f"{row.name} goes on to its next revision"
            for one in members:
                if action == "stop":
                    operations.scale(self._session, actor, one, 0)
                else:
                    operations.restart(self._session, actor, one)
            return f"{row.name} is being stopped" if action == "stop" else f"{row.name} begins again"

        self._do(run)

    def _let_go(self, row: ServiceRow) -> str:
        self.connections.close((row.name, row.host))
        return f"{row.name} is not reached from here any more; it goes on"

    def _do(self, action: Callable[[], str]) -> None:
        def run() -> str:
            done = action()
            self._workspace.post_message(StoreChanged())
            return done

        background.do(self._workspace, run)
