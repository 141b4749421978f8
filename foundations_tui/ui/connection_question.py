"""The window in which a connection asks: for a passphrase, for what a server asks, whether a host key is right."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen

from foundations_tui.hosts.asking import LockedKey, ServerPrompt, UnknownKey
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.passphrase import Passphrase


def connection_question(about: UnknownKey | LockedKey | ServerPrompt) -> Screen[Any]:
    """Return the window that asks for what a connection needs; its result is the answer."""
    if isinstance(about, LockedKey):
        wrong = "That is not it. " if about.attempt > 1 else ""
        question = f"{wrong}The private key has a passphrase; what is it?"
        return Passphrase(question, f"{about.path}: kept in memory until you quit")
    if isinstance(about, ServerPrompt):
        wrong = "That was not it. " if about.attempt > 1 else ""
        question = f"{wrong}{about.host} ({about.user}@{about.address}) asks: {about.text}"
        return Passphrase(question, about.about or "it is sent to that host and kept nowhere")
    question = f"{about.host} shows a key that is not known yet. Is it the right one? It will be remembered."
    return Confirm(question, f"{about.kind} {about.fingerprint}", uncalled=True)
