"""Who may touch whose jobs: several people share an account, and everybody's verbs touch their own. Pure."""

from __future__ import annotations

from dataclasses import dataclass

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
        """Say whether a job is theirs, or other people's jobs are meant, too."""
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
