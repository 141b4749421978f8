"""What is done with models from the app: promote, go back, serve, try, compare, retire."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from foundations_tui.errors import FoundationsError
from foundations_tui.services.models import operations
from foundations_tui.session import Session
from foundations_tui.store.models import VersionRow
from foundations_tui.store.services import ServiceRow
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.actions import background
from foundations_tui.ui.actions.services import ServiceActions
from foundations_tui.ui.messages import StoreChanged
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.menu import Choice, Menu
from foundations_tui.ui.workspace import Workspace
from remote_agent.protocol.models import CHAMPION

if TYPE_CHECKING:
    from foundations_tui.services.operations import Served

_MOST_SHOWN = 300
_MOST_READ = 1 << 20


class ModelActions:
    """Offers what can be done with a version, and does it in threads."""

    def __init__(self, workspace: Workspace, session: Session, services: ServiceActions) -> None:
        self._workspace = workspace
        self._session = session
        self._services = services

    def offer(self) -> None:
        """Offer what can be done with the version under the cursor."""
        one = self._workspace.main.version
        if one is None:
            self._workspace.say("no version is chosen")
            return
        name, number = one.row.name, one.version.number
        champion = one.row.model.aliases.get(CHAMPION, 0)
        choices = []
        if champion != number and not one.version.is_retired:
            before = f" (now {champion})" if champion else ""
            choices.append(Choice("p", f"make it the {CHAMPION}{before}", "promote"))
        previous = one.row.model.previous(CHAMPION)
        if previous:
            choices.append(Choice("b", f"roll the {CHAMPION} back to {previous}", "rollback"))
        if not one.version.is_retired:
            choices.append(Choice("s", "serve it", "serve"))
        if one.served_by:
            choices.append(Choice("t", f"try {one.served_by[0].name} with the example", "try"))
        if champion not in (0, number):
            choices.append(Choice("d", f"what differs from {champion}", "diff"))
        choices.append(Choice("l", "the log of its job", "log"))
        if one.version.is_retired:
            choices.append(Choice("R", "use it again", "restore"))
        elif not one.row.aliases_of(number) and not one.served_by:
            choices.append(Choice("R", "retire it", "retire"))
        self._workspace.push_screen(Menu(f"{name} {number}", choices), lambda answer: self._act(answer, one))

    def _act(self, action: str | None, one: VersionRow) -> None:
        name, number = one.row.name, one.version.number
        if action == "promote":
            self._confirm(
                f"Make {name} {number} the {CHAMPION}?",
                "services go on with what they run until they are served again",
                lambda: self._promoted(operations.promote(self._session, name, number, CHAMPION)),
            )
        elif action == "rollback":
            self._confirm(
                f"Roll the {CHAMPION} of {name} back?",
                "services go on with what they run until they are served again",
                lambda: self._promoted(operations.rollback(self._session, name, CHAMPION)),
            )
        elif action == "serve":
            self._serve(one)
        elif action == "try":
            connections = self._services.connections
            self._do(lambda: _answer(connections.open(one.served_by[0]), one.served_by[0]))
        elif action == "diff":
            self._workspace.say(_difference(one) or "they differ in nothing that is recorded")
        elif action == "log":
            self._workspace.main.action_page("log")
        elif action in ("retire", "restore"):
            self._confirm(
                f"{'Retire' if action == 'retire' else 'Use again'} {name} {number}?",
                "its job may be deleted then" if action == "retire" else "its job is kept again",
                lambda: self._retired(one, action == "restore"),
            )

    def _serve(self, one: VersionRow) -> None:
        """Ask, and have the version take over the service that runs another one, or begin one of its own."""
        running = [row for row in operations.running(self._session, one.row.name) if row.view.replicas]
        service = running[0] if running else None
        where = f"as {service.name} on {service.host}" if service else "where its job ran"
        detail = f"it takes over from {one.row.name} {service.view.version} when it is ready" if service else ""
        self._confirm(f"Serve {one.row.name} {one.version.number} {where}?", detail, lambda: self._served(one, service))

    def _served(self, one: VersionRow, service: ServiceRow | None) -> str:
        from foundations_tui.services import operations as of_services
        from foundations_tui.services.models import serving

        aliases = one.row.aliases_of(one.version.number)
        alias = service.view.alias if service and service.view.alias in aliases else ""
        reference = f"{one.row.name}@{alias or one.version.number}"
        request = serving.read(
            self._session, reference, service.name if service else "", serving.values_of(self._session, service), Path()
        )
        served: Served = of_services.serve(self._session, request)
        return f"{served.view.name} goes to {one.row.name} {one.version.number} on {served.host}"

    def _promoted(self, promoted: operations.Promoted) -> str:
        from foundations_tui.services.models import serving

        following = [served.view.name for served in serving.follow(self._session, promoted)]
        left = ", ".join(row.name for row in promoted.left_behind if row.name not in following)
        more = f"; {', '.join(following)} follows" if following else ""
        more += f"; {left} still runs another version" if left else ""
        return f"{promoted.alias} of {promoted.row.name} means {promoted.number}{more}"

    def _retired(self, one: VersionRow, undo: bool) -> str:
        operations.retire(self._session, one.row.name, one.version.number, undo)
        return f"{one.row.name} {one.version.number} {'is used again' if undo else 'is retired'}"

    def _confirm(self, question: str, detail: str, action: Callable[[], str]) -> None:
        self._workspace.push_screen(Confirm(question, detail), lambda yes: self._do(action) if yes else None)

    def _do(self, action: Callable[[], str]) -> None:
        def run() -> str:
            done = action()
            self._workspace.post_message(StoreChanged())
            return done

        background.do(self._workspace, run)


def _difference(one: VersionRow) -> str:
    """Return what differs between the champion and a version, in words."""
    champion = one.row.model.versions[one.row.model.aliases[CHAMPION]]
    found = operations.diff(champion, one.version)
    pairs = {**found.params, **found.metrics}
    return one_line(", ".join(f"{key}: {before} -> {after}" for key, (before, after) in pairs.items()))[:_MOST_SHOWN]


def _answer(url: str, service: ServiceRow) -> str:
    """Return what a service answers to the example of its model, in words.

    Raises:
        FoundationsError: it does not.
    """
    try:
        with urllib.request.urlopen(f"{url}/example", timeout=20) as response:
            example = response.read(_MOST_READ)
        began = time.monotonic()
        request = urllib.request.Request(f"{url}/predict", example, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = response.read(_MOST_READ).decode(errors="replace").strip()
    except OSError as error:
        raise FoundationsError(f"{service.name} has not answered the example: {error}") from None
    words = one_line(answer)[:_MOST_SHOWN]
    return f"{service.name} answered in {1000 * (time.monotonic() - began):.0f} ms: {words}"
