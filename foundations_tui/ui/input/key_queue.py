"""Keys in their order: each has its effect before the next one is taken.

Textual hands a key to the widget that has the keys when it arrives. Several that arrive at once, as over a slow line or
from a paste, would all go to the same widget: of ":stop" only the colon would open the prompt, and "s" would sort.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from textual import events
from textual.app import App
from textual.geometry import Offset
from textual.message_pump import MessagePump

_AT_MOST = 0.5
"""Seconds after which the next key is taken all the same."""
_AGAIN = 0.01
_DRAWN_BY = 0.05
"""Seconds after which what a key does is drawn: to follow it takes a millisecond or two of that."""
_TWO_CLICKS = 0.5
"""Seconds within which two clicks are one double click, as Textual counts them."""
_ROUNDS = 2
"""How often what a key has changed is waited for: a table tells its pane, and that tells the screen."""


class SerializedKeys(App[None]):
    """An app that takes one key at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._typed: deque[events.Key] = deque()
        self._key: object | None = None
        """Stands for the key that has not had its effect yet."""
        self._got_it: MessagePump | None = None
        """The widget that got it, as long as nobody follows it."""
        self._held_until = 0.0
        self._pressed: tuple[Offset, object, float] = (Offset(-1, -1), None, 0.0)
        """Where, on which screen, and when a button of the mouse was pressed last."""

    def hold_keys(self) -> None:
        """Hold further keys until ``release_keys``: the answer to the last one is being read."""
        self._held_until = time.monotonic() + _AT_MOST

    def release_keys(self) -> None:
        """Take keys again."""
        self._held_until = 0.0

    def action_press(self, key: str) -> None:
        """Press a key: a click on its words does.

        It is sent as the app's: one that the clicked widget sent would go no further than that widget.
        """
        event = events.Key(key, None)
        event.set_sender(self)
        self.post_message(event)

    async def on_event(self, event: events.Event) -> None:
        """Put a key behind those that wait; everything else goes its way."""
        if isinstance(event, events.MouseDown) and not event.is_forwarded and self._is_stray(event):
            return
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self._typed.append(event)
        if self._key is None:
            await self._take_next()
        elif len(self._typed) == 1:
            self._follow(self._key)
            self._wait_at_most(self._key)

    def _is_stray(self, event: events.MouseDown) -> bool:
        """Return whether this is the second of two clicks of which the first has opened or closed a window.

        It was not meant for what stands there now, which may be the answer to a question.
        """
        where, on, at = self._pressed
        now = time.monotonic()
        self._pressed = event.screen_offset, self.screen, now
        return where == event.screen_offset and on is not self.screen and now - at < _TWO_CLICKS

    async def _take_next(self) -> None:
        if not self._typed:
            return
        key = self._key = object()
        self._got_it = self.focused or self.screen
        await super().on_event(self._typed.popleft())
        if self._typed:
            self._follow(key)
            self._wait_at_most(key)
        else:
            self.set_timer(_DRAWN_BY, lambda: self._follow(key))

    def _follow(self, key: object) -> None:
        """Begin to follow a key to where it has its effect: at once where the next one waits, else once it is drawn."""
        if key is self._key and self._got_it is not None:
            target, self._got_it = self._got_it, None
            self._climb(target, key, _ROUNDS)

    def _wait_at_most(self, key: object) -> None:
        self.set_timer(_AT_MOST, lambda: self._ended(key))

    def _climb(self, node: MessagePump | None, key: object, rounds: int) -> None:
        """Follow the key: from the widget that got it through all above, each does what was asked of it before."""
        if node is None or isinstance(node, App) or not node.call_later(self._climb, node._parent, key, rounds):
            self.call_later(self._settle, key, rounds)

    def _settle(self, key: object, rounds: int) -> None:
        """Wait for what the key has opened, and for what has the keys now to tell those above what has changed."""
        if time.monotonic() < self._held_until or not self.screen_stack or not self.screen.is_mounted:
            if key is self._key:
                self.set_timer(_AGAIN, lambda: self._settle(key, rounds))
        elif rounds:
            self._climb(self.focused or self.screen, key, rounds - 1)
        else:
            self.call_later(self._ended, key)

    async def _ended(self, key: object) -> None:
        if key is self._key:
            self._key = None
            await self._take_next()
