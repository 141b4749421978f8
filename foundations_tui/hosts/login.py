"""Logging in: keys first, then whatever else the server wants, asked through ``Asker`` and never by paramiko itself.

The order is ssh's own: public keys, keyboard-interactive (one-time codes, PAM), passwords. A server may want several
of them, one after the other (AuthenticationMethods of sshd_config(5)).
"""

from __future__ import annotations

import contextlib
import queue
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import paramiko
from paramiko.auth_strategy import AuthStrategy

from foundations_tui.errors import HostRefused, HostUnreachable
from foundations_tui.hosts import unlocking
from foundations_tui.hosts.asking import NOBODY, Asker, ServerPrompt

_ATTEMPTS = 3
_PATIENCE = 300.0
"""Seconds that somebody may take to answer; servers wait 120 s by default (LoginGraceTime)."""
_INTERACTIVE, _PASSWORD = "keyboard-interactive", "password"
_ROUNDS = 10
"""Most authentication methods that a server may ask for in turn."""

Interactive = Callable[[str, str, Sequence[tuple[str, bool]]], list[str]]


class Login(AuthStrategy):  # type: ignore[misc]
    """One login on one connection."""

    def __init__(
        self,
        host: str,
        address: str,
        user: str,
        identities: Sequence[str],
        asker: Asker,
        agent: bool,
        copy_id: str,
    ) -> None:
        """Make one.

        Args:
            host: its name in hosts.toml.
            address: where it is, for messages.
            user: who logs in.
            identities: files of private keys.
            asker: answers what the server asks.
            agent: whether keys of the ssh agent are shown.
            copy_id: the command that puts a key onto the host, for hints.
        """
        self._host, self._address, self._user = host, address, user
        self._identities, self._asker, self._agent = identities, asker, agent
        self._copy_id = copy_id
        self._shown = 0
        """How many keys were shown."""
        self._locked = ""
        """A private key whose passphrase nobody said."""

    def authenticate(self, transport: paramiko.Transport) -> list[Any]:
        """Log in.

        Raises:
            HostRefused: the server does not let us in, or asks what nobody can answer.
        """
        transport.auth_timeout = _PATIENCE
        left = self._by_key(transport)
        key_taken = left is not None
        if left is None:
            left = self._methods(transport)
        for _ in range(_ROUNDS):
            if not left:
                return []
            left = self._by_asking(transport, left, key_taken)
        raise HostRefused(f"{self._host}: {self._address} asks for one thing after the other without end")

    # --- keys ---------------------------------------------------------------------------------------------------

    def _by_key(self, transport: paramiko.Transport) -> list[str] | None:
        """Show our keys; return what else the server wants once one is taken, None when none is."""
        for key in self._keys():
            self._shown += 1
            try:
                return list(transport.auth_publickey(self._user, key))
            except paramiko.BadAuthenticationType as error:
                if "publickey" not in error.allowed_types:
                    return None  # it takes no keys at all
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise self._refused("it ended the connection: too many keys were shown (MaxAuthTries)") from None
        return None

    def _keys(self) -> Iterator[paramiko.PKey]:
        """Yield the keys to show: one whose passphrase is known, of files, of the agent, then those to be unlocked."""
        unlocked = unlocking.known(self._identities)
        if unlocked is not None:
            yield unlocked.key
        for path in self._identities:
            if unlocked is None or path != unlocked.path:
                yield from unlocking.load(path)
        if self._agent:
            with contextlib.closing(paramiko.Agent()) as agent:
                yield from agent.get_keys()
        for path in unlocking.locked(self._identities):
            if unlocked is not None and path == unlocked.path:
                continue
            key = unlocking.unlock(path, self._asker)
            if key is None:
                self._locked = self._locked or path
                continue
            yield key

    def _methods(self, transport: paramiko.Transport) -> list[str]:
        """Return by what the server lets anybody in."""
        try:
            transport.auth_none(self._user)
        except paramiko.BadAuthenticationType as error:
            return list(error.allowed_types)
        except paramiko.AuthenticationException:
            pass
        return ["publickey"] if transport.is_authenticated() is False else []

    # --- asking -------------------------------------------------------------------------------------------------

    def _by_asking(self, transport: paramiko.Transport, methods: list[str], key_taken: bool) -> list[str]:
        """Answer what the server asks by one of its methods; return what it wants then."""
        chosen = next((method for method in (_INTERACTIVE, _PASSWORD) if method in methods), "")
        if not chosen:
            raise self._no_key_taken(methods)
        if self._asker.answer is NOBODY.answer:
            raise self._nobody(chosen, key_taken) if key_taken or not self._locked else self._key_is_locked()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if chosen == _INTERACTIVE:
                    answer = self._answers(attempt)
                    return list(_in_a_thread(transport, self._user, answer))
                prompt = ServerPrompt(self._host, self._user, self._address, "password", attempt=attempt)
                password = self._asker.answer(prompt)
                if password is None:
                    raise self._nobody(chosen, key_taken)
                return list(transport.auth_password(self._user, password, fallback=False))
            except paramiko.BadAuthenticationType as error:
                return list(error.allowed_types)
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise self._refused("it ended the connection after a wrong answer") from None
        raise self._refused(f"{_ATTEMPTS} answers were wrong")

    def _answers(self, attempt: int) -> Interactive:
        def answer(title: str, instructions: str, prompts: Sequence[tuple[str, bool]]) -> list[str]:
            answers = []
            for text, _ in prompts:
                about = "\n".join(filter(None, [title.strip(), instructions.strip()]))
                prompt = ServerPrompt(self._host, self._user, self._address, text.strip() or "answer", about, attempt)
                secret = self._asker.answer(prompt)
                if secret is None:
                    raise self._nobody(_INTERACTIVE, False)
                answers.append(secret)
            return answers

        return answer

    # --- words --------------------------------------------------------------------------------------------------

    @property
    def _who(self) -> str:
        return f"{self._host}: {self._user}@{self._address}"

    def _refused(self, why: str) -> HostRefused:
        return HostRefused(f"{self._who} does not let us in: {why}")

    def _nobody(self, method: str, key_taken: bool) -> HostRefused:
        what = "a password" if method == _PASSWORD else "a code or password"
        after = "took our key and asks for " if key_taken else "asks for "
        hint = f"log in where it can be typed: foundations hosts test {self._host}, in a terminal, or the app"
        return HostRefused(f"{self._who} {after}{what}, and nobody has answered", hint)

    def _key_is_locked(self) -> HostRefused:
        how = f"add it to your ssh agent: ssh-add {shlex.quote(self._locked)}"
        return HostRefused(f"{self._host}: the private key {self._locked} has a passphrase", how)

    def _no_key_taken(self, methods: list[str]) -> HostRefused:
        if self._locked:
            return self._key_is_locked()
        if "publickey" in methods and not self._shown:
            return HostRefused(
                f"{self._who} takes only keys, and there is none to show",
                f"set identity in hosts.toml, or make a key: ssh-keygen, or: {self._copy_id}",
            )
        tried = ", ".join(self._identities) or "those of the ssh agent"
        if "publickey" in methods:
            return HostRefused(
                f"{self._who} does not accept our keys ({tried})", f"set identity in hosts.toml, or: {self._copy_id}"
            )
        return self._refused(f"it wants {', '.join(methods) or 'nothing that we know'}")


def _in_a_thread(transport: paramiko.Transport, user: str, answer: Interactive) -> list[str]:
    """Log in by keyboard-interactive, its questions answered in this thread: paramiko asks in the connection's own."""
    events: queue.Queue[Any] = queue.Queue()

    def ask(title: str, instructions: str, prompts: Sequence[tuple[str, bool]]) -> list[str]:
        if not prompts:
            return []
        answered: queue.Queue[list[str]] = queue.Queue()
        events.put((title, instructions, prompts, answered))
        return answered.get()

    def log_in() -> None:
        try:
            events.put(list(transport.auth_interactive(user, ask)))
        except Exception as error:
            events.put(error)

    threading.Thread(target=log_in, daemon=True).start()
    while True:
        try:
            event = events.get(timeout=_PATIENCE)
        except queue.Empty:
            raise HostUnreachable(f"the server fell silent while we logged in: nothing for {_PATIENCE:g} s") from None
        if isinstance(event, list):
            return event
        if isinstance(event, Exception):
            raise event
        title, instructions, prompts, answered = event
        try:
            answered.put(answer(title, instructions, prompts))
        except BaseException:
            answered.put([])
            raise
