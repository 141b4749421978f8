"""A file or a folder of this machine, chosen from a tree."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import DirectoryTree
from textual.widgets.directory_tree import DirEntry
from textual.widgets.tree import TreeNode

from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.key_words import key_words

_NOBODY_LOOKS_FOR = ("__pycache__", "node_modules", "venv")


class FileTree(DirectoryTree):
    """The files below a folder; names are shown as they are, never obeyed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "down", show=False, id="files.down"),
        Binding("k", "cursor_up", "up", show=False, id="files.up"),
        Binding("g", "scroll_home", "top", show=False, id="files.top"),
        Binding("G", "scroll_end", "bottom", show=False, id="files.bottom"),
        Binding("l,right", "toggle_node", "open", show=False, id="files.open"),
    ]

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        """Leave out what nobody looks for here."""
        return [p for p in paths if not p.name.startswith(".") and p.name not in _NOBODY_LOOKS_FOR]

    def render_label(self, node: TreeNode[DirEntry], base_style: Style, style: Style) -> Text:
        """Return a name with a mark for folders."""
        name = node.data.path.name if node.data else ""
        opened, closed = ("- ", "+ ") if LOOK.ascii else ("▾ ", "▸ ")
        mark = (opened if node.is_expanded else closed) if node.allow_expand else "  "
        return Text(mark + one_line(name or str(node.data.path if node.data else "")), style)


class Files(ModalScreen[Path | None]):
    """Returns a path; any way back returns none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "back", id="files.close"),
        Binding("space", "take", "take it", id="files.take"),
    ]

    def __init__(self, folder: Path, title: str) -> None:
        super().__init__()
        self._folder = folder
        self._title = title

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield FileTree(self._folder)

    def on_mount(self) -> None:
        """Begin at the top."""
        box = self.query_one("#box")
        box.border_title = Content(one_line(self._title))
        box.border_subtitle = key_words(
            self,
            *(("enter", "opens a folder, takes a file"), ("files.take", "takes either"), ("files.close", "back")),
            gap="   ",
        )
        self.query_one(FileTree).focus()

    def on_directory_tree_file_selected(self, event: DirectoryTree.FileSelected) -> None:
        """Return the file."""
        event.stop()
        self.dismiss(event.path)

    def action_take(self) -> None:
        """Return what is under the cursor, a folder too."""
        node = self.query_one(FileTree).cursor_node
        if node is not None and node.data is not None:
            self.dismiss(node.data.path)

    def action_leave(self) -> None:
        """Return none."""
        self.dismiss(None)
