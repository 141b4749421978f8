"""Who may touch whose jobs: several people share an account, and everybody's verbs touch their own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foundations_tui.config.hosts import HostsConfig, owner_name
from foundations_tui.errors import UsageError
from foundations_tui.store.rows import JobRow


@dataclass(frozen=True)
class Actor:
    """Who does something."""

    owner: str
    """A person's name, as jobs bear it."""
    others: bool = False
    """Whether other people's jobs are meant, too."""

    def may_touch(self, row: JobRow) -> bool:
        """Return whether a job is theirs, or other people's jobs are meant, too."""
        return self.others or row.owner == self.owner

    def check(self, row: JobRow) -> None:
        """Refuse to touch somebody else's job, unless that was asked for.

        Raises:
            UsageError: it is somebody else's.
        """
        if not self.may_touch(row):
            raise UsageError(
                f"job {row.job} belongs to {row.owner or 'somebody else'}, not to {self.owner}", "--others allows it"
            )

    def check_owned(self, what: str, owner: str) -> None:
        """Refuse to touch something of somebody else, unless that was asked for.

        Args:
            what: it, in words.
            owner: whose it is; "" for nobody's.
        Raises:
            UsageError: it is somebody else's.
        """
        if not self.others and owner not in ("", self.owner):
            raise UsageError(f"{what} belongs to {owner}, not to {self.owner}", "--others allows it")

    def select(self, rows: Sequence[JobRow], named: bool) -> list[JobRow]:
        """Return the jobs that they may touch.

        Args:
            rows: what was chosen.
            named: whether each was named; what a query finds of other people is only left out.
        Raises:
            UsageError: one that was named is somebody else's, or all that a query finds are.
        """
        mine = [row for row in rows if self.may_touch(row)]
        if named or not mine:
            for row in rows:
                self.check(row)
        return mine

    def strangers(self, rows: Iterable[JobRow]) -> list[str]:
        """Return the names of the other people to whom some of the jobs belong."""
        return sorted({row.owner or "somebody else" for row in rows if row.owner != self.owner})


def actor_of(hosts: HostsConfig, others: bool = False) -> Actor:
    """Return the person whose client this is.

    Args:
        hosts: hosts.toml.
        others: whether other people's jobs are meant, too.
    """
    return Actor(owner_name(hosts), others)
