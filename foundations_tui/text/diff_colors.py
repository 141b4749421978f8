"""Colors for what ``git diff`` and ``diff -u`` print, as every terminal has them. Pure."""

from __future__ import annotations

_HEADS = (
    *("diff ", "index ", "--- ", "+++ ", "new file", "deleted file", "old mode", "new mode"),
    *("rename ", "similarity "),
)
_BOLD, _RED, _GREEN, _CYAN, _END = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"


def painted(difference: str) -> str:
    """Return a difference with its lines in color: what came, what went, where.

    Args:
        difference: made safe already; nothing in it moves a terminal.
    """
    return "\n".join(map(_line, difference.split("\n")))


def _line(line: str) -> str:
    color = _BOLD if line.startswith(_HEADS) else {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line[:1], "")
    return f"{color}{line}{_END}" if color else line
