"""The threads behind the app: one a host keeps the store up to date, short ones carry out what the user asks for."""

from __future__ import annotations

import os
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from textual.message import Message

from foundations_tui.errors import as_ours
from foundations_tui.hosts.asking import Asker
from foundations_tui.session import Session
from foundations_tui.ui.messages import ActionEnded, Asked, StoreChanged

if TYPE_CHECKING:
    from foundations_tui.hosts.asking import LockedKey, ServerPrompt, UnknownKey
    from foundations_tui.sync.follower import Follower

_LOOK_SECONDS = 1.0
_ROUNDS_APART = 0.5
"""Seconds from one look at a host's news to the next, while they come without end."""
Post = Callable[[Message], Any]


class Followers:
    """Follows every host in the background; none of them ever blocks the app."""

    def __init__(self, session: Session, post: Post) -> None:
        """Make them; ``start`` begins.

        Args:
            session: the client's.
            post: takes messages from any thread.
        """
        self._post = post
        self._session = session
        self._followers: dict[str, Follower] = {}
        self._is_stopped = False

    def _changed(self) -> None:
        self._post(StoreChanged())

    def start(self) -> None:
        """Begin to follow the hosts of hosts.toml, and take in what was run by hand on this machine."""
        threading.Thread(target=self._begin, daemon=True).start()

    def _begin(self) -> None:
        self.follow(self._session.hosts.hosts)
        self._take_in()

    def follow(self, hosts: Iterable[str]) -> None:
        """Follow these hosts, too."""
        from foundations_tui.sync.follower import Follower

        for host in [host for host in hosts if host not in self._followers]:
            follower = self._followers[host] = Follower(
                self._session, host, self._changed, patient=True, apart=_ROUNDS_APART
            )
            if not self._is_stopped:
                threading.Thread(target=self._follow, args=(host, follower), name=f"follow {host}", daemon=True).start()

    def leave_all_but(self, hosts: Iterable[str]) -> None:
        """Follow no other hosts any more."""
        for host in set(self._followers) - set(hosts):
            self._followers.pop(host).stop()

    def _take_in(self) -> None:
        from foundations_tui.ingest import local_runs

        try:
            local_runs.ingest()
        except Exception as error:
            self._post(ActionEnded(f"runs of this machine: {as_ours(error)}", failed=True))
        self._changed()

    def stop(self) -> None:
        """End them, without waiting for a host."""
        self._is_stopped = True
        for follower in list(self._followers.values()):
            follower.stop()

    def _follow(self, host: str, follower: Follower) -> None:
        try:
            follower.run()
        except Exception as error:
            self._post(ActionEnded(f"{host} is no longer followed: {as_ours(error)}", failed=True))


class ConnectionAsks:
    """Asks the user what connections ask, from the threads that connect; what was answered is not asked again."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._answers: dict[UnknownKey | LockedKey | ServerPrompt, Any] = {}
        self._declined: set[tuple[str, str]] = set()
        """Hosts, with users, whose questions were not answered."""
        self._waiting: set[threading.Event] = set()

    @property
    def asker(self) -> Asker:
        """Who answers: the user."""
        return Asker(lambda key: bool(self._ask(key)), self._ask_passphrase, self._ask_secret)

    def _ask_secret(self, prompt: ServerPrompt) -> str | None:
        """Ask what a server asks; who did not say it is not asked again at each new try to connect."""
        whose = (prompt.host, prompt.user)
        if whose in self._declined:
            return None
        secret: str | None = self._ask(prompt)
        self._answers.pop(prompt, None)  # kept nowhere, and a code is good once
        if secret is None:
            self._declined.add(whose)
        return secret

    def _ask_passphrase(self, key: LockedKey) -> str | None:
        passphrase: str | None = self._ask(key)
        self._answers[key] = None  # a passphrase is kept nowhere; who did not say it is not asked again
        return passphrase

    def _ask(self, about: UnknownKey | LockedKey | ServerPrompt) -> Any:
        """Return the answer; blocks until there is one."""
        if about in self._answers:
            return self._answers[about]
        answered = threading.Event()
        self._waiting.add(answered)

        def answer(reply: Any) -> None:
            self._answers[about] = reply
            answered.set()

        self._post(Asked(about, answer))
        answered.wait()
        self._waiting.discard(answered)
        return self._answers.get(about)

    def ask_again(self) -> None:
        """Ask again what was answered with no."""
        self._answers = {about: answer for about, answer in self._answers.items() if answer}
        self._declined.clear()

    def stop(self) -> None:
        """Let go whoever waits: nothing that was not answered is trusted."""
        for answered in list(self._waiting):
            answered.set()


def end_with_terminal() -> None:
    """End this process when its terminal has gone, even one that is deaf to the hangup (nohup): whoever reads and draws
    would do so for ever, and drawing blocks when nothing takes it."""
    if not os.isatty(0):
        return

    def watch() -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            try:
                termios.tcgetattr(0)
            except termios.error:
                os._exit(128 + signal.SIGHUP)  # nothing is lost: the store takes whole transactions only

    threading.Thread(target=watch, name="terminal", daemon=True).start()


def carry_out(post: Post, action: Callable[[], str], after: threading.Thread | None = None) -> threading.Thread:
    """Do something in a thread, and post how it went: what it returns, or its error.

    Args:
        post: takes messages from any thread.
        action: what to do.
        after: the thread of something that has to be done before.
    """

    def run() -> None:
        if after is not None:
            after.join()
        try:
            post(ActionEnded(action()))
        except Exception as error:
            post(ActionEnded(str(as_ours(error)), failed=True))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
