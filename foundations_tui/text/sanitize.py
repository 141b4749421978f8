"""Text from jobs, hosts and files, made safe for a terminal. Pure.

A program may color its output (SGR sequences); it may not move the cursor, set the title or the clipboard, or ask
the terminal to answer.
"""

from __future__ import annotations

import codecs
import re

_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_STEERING = r"\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""What steers a terminal, turns the direction of text around, or is no text at all."""
_UNSAFE = re.compile(rf"\x1b\[[0-9;:]*m|[\x00-\x08\x0b\x0c\x0e-\x1f{_STEERING}]")
_ONE_LINE = re.compile(rf"[\x00-\x1f{_STEERING}]")
_UNSURE = re.compile("[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")
"""Joiners, variation selectors and skin tones: terminals do not agree on how many cells they take."""
_REDRAWN = re.compile(r"\x1b\[1?A|\n")
"""A step up (CUU of ECMA-48), as progress bars below one another make it, and the line end that it takes back."""
_MOST_HELD = 500
"""Characters behind a line end for which it may be taken back."""
_ANEW = "\r\x1b[K"
"""Begins a terminal's line again."""
_UNFINISHED = re.compile(r"\x1b(\[[0-9;:]{0,32})?\Z")
RESET = "\x1b[0m"


class LogFilter:
    """Makes the bytes of a log safe as they arrive: colors pass, every other control sequence is shown, not obeyed.

    Progress bars below one another are drawn in one line, as a single one is.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._line_end = ""
        """A line end, and what follows it: a step up may take it back."""
        self._ups = 0
        """Steps up that have still to take a line end back: the next one, for the last is out already."""

    def feed(self, data: bytes) -> str:
        """Return what can be written to a terminal so far."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        self._held = unfinished.group() if unfinished else ""
        return self._safe(text[: len(text) - len(self._held)])

    def end(self) -> str:
        """Return what was held back, at the end of the log."""
        text, self._held = self._held + self._decoder.decode(b"", True), ""
        shown = self._safe(text) + self._line_end
        self._line_end = ""
        return shown

    def _safe(self, text: str) -> str:
        if not self._line_end and not self._ups and "\x1b[A" not in text and "\x1b[1A" not in text and "\n" not in text:
            return _UNSAFE.sub(_shown, text)
        parts: list[str] = []
        held, start = self._line_end, 0
        for match in _REDRAWN.finditer(text):
            between, start = _UNSAFE.sub(_shown, text[start : match.start()]), match.end()
            held = _put(parts, held, between)
            if match.group() != "\n":
                if held:
                    parts.append(_ANEW + held[1:])  # what was to be the next line is drawn over this one
                    held = ""
                else:
                    self._ups += 1
            elif self._ups:
                self._ups -= 1
                parts.append(held + _ANEW)
                held = ""
            else:
                parts.append(held)
                held = "\n"
        held = _put(parts, held, _UNSAFE.sub(_shown, text[start:]))
        if len(held) > _MOST_HELD or held.count("\r") > 1:
            parts.append(held)
            held = ""
        self._line_end = held
        return "".join(parts)


def _put(parts: list[str], held: str, text: str) -> str:
    """Add a text to what is held back, or where nothing is, to what goes out; return what is held back."""
    if held:
        return held + text
    parts.append(text)
    return ""


def one_line(text: str) -> str:
    """Return a text without anything that could leave its line, steer a terminal, or take an unknown room there."""
    return _ONE_LINE.sub(lambda match: _caret(match.group()), steady(text))


def steady(text: str) -> str:
    """Return a text that takes as many cells on every terminal: emoji without their joiners and variations."""
    return text if text.isascii() else _UNSURE.sub("", text)


def several_lines(text: str) -> str:
    """Return a text in which only newlines and tabs are left of all control characters."""
    return "\n".join(one_line(line.expandtabs()) for line in text.split("\n"))


def plain(text: str) -> str:
    """Return a text without colors."""
    return _SGR.sub("", text)


def width(text: str) -> int:
    """Return how many cells a text without escape sequences takes."""
    if _takes_one_each(text):
        return len(text)
    import wcwidth  # 10 ms, which most texts do without

    return wcwidth.width(text, control_codes="ignore")


def clip(text: str, cells: int) -> str:
    """Return a text cut to a number of cells, with an ellipsis where something is gone."""
    if width(text) <= cells:
        return text
    if cells < 1:
        return ""
    if _takes_one_each(text):
        return text[: cells - 1] + "…"
    import wcwidth

    return wcwidth.clip(text, 0, cells - 1, propagate_sgr=False, control_codes="ignore") + "…"


_ONE_EACH = re.compile(r"[ -~¡-¬®-˿‐-‧←-⇿⊘─-▟■-◯✓✗⠀-⣿]*")
"""Latin, arrows, lines, blocks, braille dots and the marks of states: each takes one cell on every terminal."""


def _takes_one_each(text: str) -> bool:
    """Return whether each character of a text surely takes one cell; asking wcwidth takes ten times as long."""
    return text.isascii() or _ONE_EACH.fullmatch(text) is not None


def _shown(match: re.Match[str]) -> str:
    escape = match.group()
    return escape if len(escape) > 1 else _caret(escape)


def _caret(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return "^" + chr(code + 0x40)
    return "^?" if code == 0x7F else f"<{code:02x}>"
