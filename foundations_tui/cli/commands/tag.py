"""The verb tag."""

from __future__ import annotations

import click

from foundations_tui.cli.outcomes import print_annotated
from foundations_tui.cli.params import chosen_jobs, connecting, parse_pair, where_option, yes_option
from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.text.command_line import literal
from remote_agent.protocol.wire import JsonTable


@click.command()
@click.argument("words_", metavar="[JOB...] KEY[=VALUE]...", nargs=-1)
@click.option("--remove", "removed", multiple=True, metavar="KEY", help="Take this tag away (repeatable).")
@where_option
@yes_option
@connecting
def tag(session: Session, words_: tuple[str, ...], removed: tuple[str, ...], where: str, yes: bool) -> None:
    """Put tags on jobs; the same key again replaces its value.

    \b
      foundations tag 8f3a12 baseline
      foundations tag 8f3a12 c41d00 dataset=v2
      foundations tag --where 'val_loss:min<0.1' good --yes
      foundations tag 8f3a12 --remove baseline
    """
    from foundations_tui.jobs.annotations import annotate
    from foundations_tui.jobs.ownership import actor_of

    jobs, pairs = _jobs_and_tags(session, words_, bool(where), bool(removed))
    changes: JsonTable = {f"tag:{key}": None for key in removed}
    for pair in pairs:
        key, value = parse_pair(pair, "a tag", value_needed=False)
        tag_value = literal(value) if value is not None else ""
        changes[f"tag:{key}"] = tag_value if isinstance(tag_value, str | int | float) else value
    rows = chosen_jobs(session.store.conn, jobs, where, yes, "tag")
    print_annotated(annotate(session, actor_of(session.hosts), rows, changes))


def _jobs_and_tags(
    session: Session, given: tuple[str, ...], is_query: bool, removes: bool
) -> tuple[tuple[str, ...], list[str]]:
    """Return (jobs, tags): the words in front that name jobs, and the rest."""
    if is_query:
        if not given and not removes:
            raise UsageError("which tag?", "foundations tag --where QUERY KEY or KEY=VALUE")
        return (), list(given)
    jobs: list[str] = []
    rest = list(given)
    while rest and (len(rest) > 1 or removes or not jobs):
        try:
            jobs.append(queries.resolve(session.store.conn, rest[0]))
        except NotFoundError:
            if not jobs:
                raise
            break
        rest.pop(0)
    if not rest and not removes:
        raise UsageError("which tag?", "foundations tag JOB KEY or KEY=VALUE")
    return tuple(jobs), rest
