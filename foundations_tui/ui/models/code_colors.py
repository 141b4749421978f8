"""Code in the colors of its language, line by line. No widgets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from rich.syntax import Syntax
from rich.text import Text

from foundations_tui.analysis.code_pairs import CodePair
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.theme import LOOK

_MOST_CHARACTERS = 400_000
"""Of code that is colored: beyond that it would be waited for."""
_HEAD = "bold"


def drawer(pairs: Sequence[CodePair]) -> Callable[[CodePair, bool], Text]:
    """Return what draws a line of a pair; both sides of a file are read by its language as a whole.

    Args:
        pairs: all that are shown.
    """
    colored: dict[tuple[int, bool], Text] = {}
    if sum(len(pair.left or "") + len(pair.right or "") for pair in pairs) <= _MOST_CHARACTERS:
        for file, group in itertools.groupby(pairs, key=lambda pair: pair.file):
            of_file = list(group)
            for is_left in (True, False):
                colored |= _side(file, of_file, is_left)

    def draw(pair: CodePair, is_left: bool) -> Text:
        plain = _safe(pair.left if is_left else pair.right)
        if pair.is_head:
            return Text(plain, style=_HEAD)
        return colored.get((id(pair), is_left)) or Text(plain)

    return draw


def _side(file: str, pairs: Sequence[CodePair], is_left: bool) -> dict[tuple[int, bool], Text]:
    lines = [(pair, pair.left if is_left else pair.right) for pair in pairs if not pair.is_head]
    there = [(pair, _safe(text)) for pair, text in lines if text is not None]
    code = "\n".join(text for _, text in there)
    syntax = Syntax(code, Syntax.guess_lexer(file), theme="ansi_dark" if LOOK.dark else "ansi_light")
    highlighted = syntax.highlight(code).split("\n", allow_blank=True)
    return {(id(pair), is_left): _without_ground(text) for (pair, _), text in zip(there, highlighted, strict=False)}


def _without_ground(text: Text) -> Text:
    """Return a line without a ground of its own: that says what went and what came."""
    text.style = ""
    return text


def _safe(text: str | None) -> str:
    return one_line((text or "").expandtabs(8))
