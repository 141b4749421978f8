"""A table of options as options of click: what they complete, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from foundations_tui.cli.params import HostName, JobName, LocalPath, ProjectName
from foundations_tui.errors import UsageError
from foundations_tui.text.options import Kind, Option


def table_options(options: Mapping[str, Option]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a verb these options, in their order.

    Args:
        options: by the names of the arguments that get their values.
    """

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        for name, option in reversed(list(options.items())):
            verb = _click_option(name, option)(verb)
        return verb

    return decorate


class NameThenCommand(click.Command):
    """A verb whose options may stand behind its name: what is behind ``--`` is ``ctx.meta["command"]``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = tuple(args[end + 1 :])
        return super().parse_args(ctx, args[:end])


def _click_option(name: str, option: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    if option.kind is Kind.FLAG:
        return click.option(option.flag, name, is_flag=True, help=option.help)
    return click.option(
        option.flag,
        name,
        type=_type(option),
        default=option.default,
        multiple=option.repeats,
        metavar=option.metavar or None,
        help=option.help,
    )


class _Word(click.ParamType[Any]):
    """A word that the table itself reads."""

    def __init__(self, option: Option) -> None:
        self._option = option
        self.name = "n" if option.kind is Kind.NUMBER else option.kind.name.lower()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._option.read(value) if isinstance(value, str) else value
        except UsageError as error:
            raise click.UsageError(str(error), ctx) from None


def _type(option: Option) -> click.ParamType[Any]:
    """Return what reads the option's words, and completes them."""
    types: dict[Kind, click.ParamType[Any]] = {
        Kind.CHOICE: click.Choice(option.choices),
        Kind.HOST: HostName(("any",)),
        Kind.PROJECT: ProjectName(),
        Kind.JOB: JobName(),
        Kind.FOLDER: LocalPath("dir"),
        Kind.FILE: click.Path(dir_okay=False),
        Kind.TEXT: click.STRING,
    }
    return types.get(option.kind) or _Word(option)
