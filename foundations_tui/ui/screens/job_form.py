"""The form for a new job, empty or filled from one that there was."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from foundations_tui.errors import UsageError
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.input.job_form import FIELDS, changed, doubts, submit_words
from foundations_tui.ui.models import host_choices
from foundations_tui.ui.models.host_choices import HostChoice
from foundations_tui.ui.screens.file_picker import Files
from foundations_tui.ui.screens.menu import Choice, Menu, choices_of
from foundations_tui.ui.screens.task_output import TaskOutput
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.key_words import KeyWords

_KEYS = (
    *(("launch.preview", "preview"), ("launch.submit", "submit"), ("launch.files", "files"), ("launch.clear", "clear")),
    *(("launch.hosts", "hosts"), ("launch.close", "back")),
)
_WITH_FILES = ("command",)
_FEW_HOSTS, _HOSTS, _HIGH_FROM = 3, 6, 30
"""Hosts that are listed in a low terminal and in a high one, and the lines from which it is high."""


class FileNames(Suggester):
    """Completes the last word of a line with the name of a file; the right arrow takes it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._folder = folder

    async def get_suggestion(self, value: str) -> str | None:
        """Return the line with a whole name in it."""
        word = value.rpartition(" ")[2]
        parent, _, begin = word.rpartition("/")
        if not begin:
            return None
        names = await asyncio.to_thread(_names, self._folder / parent)
        name_there = next((name for name in names if name.startswith(begin) and name != begin), None)
        return None if name_there is None else value[: len(value) - len(begin)] + name_there


def _names(folder: Path) -> list[str]:
    """Return the names in a folder that can be typed as they are, folders with a slash."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries)
    except (OSError, ValueError):
        return []
    return [name for name in names if shlex.quote(name) == name]


@dataclass(frozen=True)
class FormResult:
    """How a form was left."""

    values: Mapping[str, str]
    """What stood in it."""
    submitted: bool = False
    job: str = ""
    """The job that the user wants to see."""


Submitted = Callable[[TaskOutput, str], None]
"""Takes the window of a submit when it is closed, and the id of the job that the user wants to see."""


class OneLine(Input):
    """A field that takes all lines of what is pasted, as one: a backslash at a line's end goes on."""

    def _on_paste(self, event: events.Paste) -> None:
        lines = [line.strip().removesuffix("\\").strip() for line in event.text.splitlines()]
        event.stop()
        event.prevent_default()
        self.replace(" ".join(line for line in lines if line), *self.selection)


_FIRST_HINT = "the command to run, as after foundations submit --, like python train.py --lr 0.1"


class JobForm(ModalScreen[FormResult]):
    """Asks for a job, and submits it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="launch.close"),
        Binding("f2,ctrl+p", "preview", "what would be sent", priority=True, id="launch.preview"),
        Binding("f3,ctrl+o", "submit", "submit", priority=True, id="launch.submit"),
        Binding("f4,ctrl+f", "files", "choose a file", priority=True, id="launch.files"),
        Binding("f5", "clear", "clear", priority=True, id="launch.clear"),
        Binding("f6,ctrl+g", "hosts", "choose a host", priority=True, id="launch.hosts"),
        Binding("down", "app.focus_next", "next", show=False, id="launch.next"),
        Binding("up", "app.focus_previous", "previous", show=False, id="launch.previous"),
    ]

    def __init__(
        self,
        values: Mapping[str, str],
        title: str,
        preview: Callable[[Sequence[str], Callable[[], None]], None],
        submit: Callable[[Sequence[str], Submitted], None],
        hosts: Sequence[HostChoice] = (),
        draft: Mapping[str, str] | None = None,
    ) -> None:
        """Make one.

        Args:
            values: what stands there to begin with, by the fields' names.
            title: where that comes from.
            preview: shows what words behind ``foundations submit`` would send; its second argument submits that.
            submit: submits what words behind ``foundations submit`` say.
            hosts: where it can go.
            draft: what was made of the values before; it stands there instead.
        """
        super().__init__()
        self._before = values
        self._draft = values if draft is None else draft
        self._title = title if draft is None else f"{title}, as it was left"
        self._preview, self._submit = preview, submit
        self._hosts = hosts
        self._away = [one.name for one in hosts if one.state == "unreachable"]
        self._result: FormResult | None = None
        """How it ends as soon as nothing lies over it."""

    def compose(self) -> ComposeResult:
        """Lay out the form."""
        with VerticalScroll(id="box"):
            for field in FIELDS:
                with Horizontal(classes="launch-line"):
                    yield Static(field.name, id=f"label-{field.name}", classes="launch-label", markup=False)
                    value = one_line(self._draft.get(field.name, ""))
                    has_files = field.name in _WITH_FILES
                    yield OneLine(
                        value,
                        placeholder=field.hint,
                        id=f"field-{field.name}",
                        select_on_focus=False,
                        suggester=FileNames(self._folder) if has_files else None,
                    )
            yield Static(
                host_choices.lines(self._hosts, _FEW_HOSTS if self.app.size.height < _HIGH_FROM else _HOSTS),
                id="launch-hosts",
                markup=False,
            )
            yield Static(id="launch-said", markup=False)
            yield KeyWords(*_KEYS, gap="   ", id="launch-keys")

    def on_mount(self) -> None:
        """Begin with the command."""
        self.query_one("#box").border_title = Content(one_line(self._title))
        self.query_one("#field-command", Input).focus()
        self._say()

    @property
    def values(self) -> dict[str, str]:
        """What stands in the form."""
        return {field.name: self.query_one(f"#field-{field.name}", Input).value for field in FIELDS}

    def _say(self) -> None:
        """Show the command line that comes of it, or what is wrong, and mark what was changed."""
        values = self.values
        fresh = changed(values, self._before)
        for field in FIELDS:
            mark = "*" if field.name in fresh and any(self._before.values()) else " "
            self.query_one(f"#label-{field.name}", Static).update(f"{mark} {field.name}", layout=False)
        label = self.query_one("#launch-said", Static)
        if not values["command"] and not fresh:
            label.update(Content.styled(_FIRST_HINT, "dim"))  # nothing is wrong before a key is pressed
            label.remove_class("-error")
            return
        try:
            line = one_line(humanize.command(["foundations", "submit", *submit_words(values)]))
            warnings = "".join(f"\n{one_line(text)}" for text in doubts(values, self._away))
            label.update(Content.assemble(line, Content.styled(warnings, LOOK.style("failed"))))
            label.remove_class("-error")
        except UsageError as error:
            label.update(Content(one_line(str(error))))
            label.add_class("-error")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Update the preview."""
        event.stop()
        self._say()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next line."""
        event.stop()
        self.focus_next(Input)

    def action_preview(self) -> None:
        """Show what would be sent, and how many jobs that are."""
        words = self._words()
        if words is not None:
            self._preview(words, self.action_submit)

    def action_submit(self) -> None:
        """Submit it; the form stays where that fails."""
        words, values = self._words(), self.values
        if words is None:
            return

        def back(window: TaskOutput, job: str) -> None:
            if window.is_done:
                self._result = FormResult(values, True, job)
                if self.is_current:
                    self.on_screen_resume()

        self._submit(words, back)

    def on_screen_resume(self) -> None:
        """Close when what was to be submitted has been."""
        result, self._result = self._result, None
        if result is not None:
            self.dismiss(result)

    def action_clear(self) -> None:
        """Clear all fields."""
        for field in FIELDS:
            self.query_one(f"#field-{field.name}", Input).value = ""
        self.query_one("#field-command", Input).focus()

    def action_hosts(self) -> None:
        """Choose a host."""
        field = self.query_one("#field-host", Input)

        def take(name: str | None) -> None:
            if name:
                field.value = name
            field.focus()

        names = choices_of([one.name for one in self._hosts])
        shown = [
            dataclasses.replace(line, words=f"{one.name}  {one.words}")
            for line, one in zip(names, self._hosts, strict=True)
        ]
        if shown:
            self.app.push_screen(Menu("which host?", [*shown, Choice("0", "any that fits", "any")]), take)

    def action_files(self) -> None:
        """Choose a file for the command, or the folder."""
        focused = self.focused
        wants_folder = focused is not None and focused.id == "field-folder"
        field = self.query_one("#field-folder" if wants_folder else "#field-command", Input)

        def take(path: Path | None) -> None:
            if path is not None and one_line(str(path)) != str(path):
                self.app.notify("its name holds what no line can: rename it first", severity="error", markup=False)
            elif path is not None and wants_folder:
                field.value = str(path if path.is_dir() else path.parent)
            elif path is not None:
                word = shlex.quote(os.path.relpath(path, self._folder))
                before, behind = field.value[: field.cursor_position], field.value[field.cursor_position :]
                gap = " " if before and not before.endswith(" ") else ""
                field.value = f"{before}{gap}{word}{behind}"
                field.cursor_position = len(before + gap + word)
            field.focus()

        title = "which folder is shipped?" if wants_folder else "which file?"
        self.app.push_screen(Files(self._folder, title), take)

    @property
    def _folder(self) -> Path:
        """The folder that is shipped."""
        fields = self.query("#field-folder")
        typed = fields.first(Input).value.strip() if fields else self._draft.get("folder", "")
        folder = Path(os.path.expanduser(typed)) if typed else Path.cwd()
        return folder if folder.is_dir() else Path.cwd()

    def _words(self) -> list[str] | None:
        try:
            return submit_words(self.values)
        except UsageError as error:
            self.app.notify(one_line(str(error)), severity="error", markup=False)
            return None

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss(FormResult(self.values))
