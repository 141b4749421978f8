"""Pictures in the terminal, by textual-image: as the terminal can show them, else as colored half cells."""

from __future__ import annotations

import contextlib
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from textual.app import SuspendNotSupported
from textual.theme import Theme
from textual.widget import Widget

from foundations_tui.errors import FoundationsError

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_MOST_PIXELS = 100_000_000
_LARGEST = (1600, 1600)
"""Pixels that are kept: more than a terminal shows."""


def load(path: Path) -> Image | None:
    """Return a picture, scaled down to what a terminal can show; None when the file is none.

    Raises:
        FoundationsError: it is a picture, and too large or damaged.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise FoundationsError(f"{path} is too large to be shown: {image.width} x {image.height} pixels")
            image.thumbnail(_LARGEST)
            return image.convert("RGBA")
    except UnidentifiedImageError:
        return None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FoundationsError(f"{path} cannot be shown: {error}") from None


class Ground(Protocol):
    """What a picture is drawn on."""

    @property
    def current_theme(self) -> Theme:
        """Its colors."""

    def suspend(self) -> AbstractContextManager[None]:
        """Leave the terminal to something else for a while."""


def widget(app: Ground, picture: Image) -> Widget:
    """Return a widget that shows a picture.

    The terminal is asked what it can do when the library is imported; the app leaves it alone meanwhile, since it
    would take the answers for keys.
    """
    from PIL import Image

    with contextlib.ExitStack() as stack:
        if "textual_image.widget" not in sys.modules:
            with contextlib.suppress(SuspendNotSupported):
                stack.enter_context(app.suspend())
        from textual_image import renderable, widget as widgets

    try:
        ground = Image.new("RGBA", picture.size, app.current_theme.surface or "black")
    except ValueError:  # the terminal's own color, which nobody knows
        ground = Image.new("RGBA", picture.size, "black" if app.current_theme.dark else "white")
    flat = Image.alpha_composite(ground, picture).convert("RGB")
    kind = widgets.HalfcellImage if renderable.Image is renderable.UnicodeImage else widgets.Image
    made: Widget = kind(flat)
    return made
