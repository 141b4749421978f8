"""How the app was left: its page, what its table showed, its theme; the next start goes on with it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass, field

from foundations_tui.config import locations
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.pages import PAGES

_FILE = "app-state.json"
_MOST_PINS = 100
_LARGEST = 64 << 10
"""Bytes: what is larger nobody here has written."""


@dataclass(frozen=True)
class Kept:
    """What is kept."""

    page: str = ""
    view: JobsView = field(default_factory=JobsView)
    theme: str = ""
    """Which was chosen in the app."""
    pins: tuple[str, ...] = ()
    """Metrics that come first."""
    set_theme: str = ""
    """What app.toml had meanwhile: another one there counts for more."""

    def theme_beside(self, of_settings: str) -> str:
        """Return the theme to begin with, beside what the settings have."""
        return self.theme if self.theme and of_settings == self.set_theme else of_settings


def read() -> Kept:
    """Return how the app was left; as by default where that is not known, or makes no sense."""
    try:
        path = locations.data_folder() / _FILE
        with path.open(encoding="utf-8") as file:
            table = json.loads(file.read(_LARGEST))
        texts = {name: str(table.get(name) or "") for name in ("page", "theme", "set_theme")}
        told = table.get("view") or {}
        view = JobsView(
            str(told.get("query") or ""),
            str(told.get("sort") or JobsView.sort),
            str(told.get("columns") or ""),
            str(told.get("group_by") or ""),
            bool(told.get("archived")),
        )
        pins = tuple(str(key) for key in (table.get("pins") or ()))[:_MOST_PINS]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return Kept()
    page = texts["page"] if texts["page"] in PAGES else ""
    return Kept(page, view, texts["theme"], pins, texts["set_theme"])


def write(kept: Kept) -> None:
    """Keep how the app is left; a full disk costs only that."""
    with contextlib.suppress(OSError):
        path = locations.data_folder() / _FILE
        temporary = path.with_name(f".{_FILE}.{os.getpid()}")
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(kept), file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
