"""What was decided: folded into the state at once, durable with the next commit, carried out only then.

So a kill at any instant leaves nothing that the journal does not know.
"""

from __future__ import annotations

from typing import Callable, Iterable, List, Optional

from remote_agent.backends import Backend
from remote_agent.core import state as states
from remote_agent.core.events import Change, JournalEntry
from remote_agent.core.state import HostState
from remote_agent.daemon.effects import Effect, Performer, RemovePrivate, StartAttempt
from remote_agent.protocol.errors import StorageBroken
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage.journal import Journal
from remote_agent.system import failpoints


class Ledger:
    """The state with the journal that it is the fold of, and the effects that wait for a commit."""

    def __init__(self, journal: Journal, backend: Backend, performer: Performer, clock: Callable[[], float]) -> None:
        """Replay the journal.

        Args:
            journal: opened, its history not yet taken.
            backend: gets an acknowledgement when its news is durable.
            performer: carries effects out.
            clock: gives seconds since the epoch.
        """
        self.journal = journal
        self.state = _replay(journal.take_history())
        self.clock = clock
        self.changed: Callable[[], None] = lambda: None
        """Called when the queue has to be looked at again."""
        self.unstarted: Callable[[StartAttempt, str], None] = lambda effect, why: None
        """Called with an attempt that could not be started, and why."""
        self.is_urgent = False
        """Whether something was decided that has to be written down at once."""
        self._backend = backend
        self._performer = performer
        self._after_commit: List[Effect] = []
        self._unaccepted: List[str] = []
        """Jobs with private files whose acceptance is not durable yet."""

    # --- deciding -----------------------------------------------------------------------------------------------

    def record(self, change: Change) -> None:
        """Decide something: fold it into the state, and have it written down soon."""
        self.append(change)
        self.is_urgent = True
        self.changed()

    def append(self, change: Change) -> None:
        """Take in something that nobody waits for: it is written down with the next thing that is."""
        entry = JournalEntry(self.state.seq + 1, self.clock(), change)
        states.apply(self.state, entry)
        self.journal.append(entry.to_wire())

    def later(self, effect: Effect) -> None:
        """Have something carried out when what was decided is durable."""
        self._after_commit.append(effect)

    def accepting(self, jobs: Iterable[str]) -> None:
        """Note that private files of jobs lie there before their acceptance is durable."""
        self._unaccepted += jobs

    # --- committing ---------------------------------------------------------------------------------------------

    def commit(self) -> bool:
        """Make all that was decided durable, then carry it out.

        Returns:
            Whether anything was decided.
        Raises:
            StorageBroken: nothing was decided after all; the state is what the journal says.
        """
        if not self.begin_commit():
            return False
        try:
            self.journal.sync()
        except OSError as error:
            self.finish_commit(error)
        else:
            self.finish_commit(None)
        return True

    def begin_commit(self) -> bool:
        """Write what was decided; ``journal.sync`` and then ``finish_commit`` have to follow.

        Returns:
            Whether there was anything to write; if not, it is all carried out.
        Raises:
            StorageBroken: as for ``commit``.
        """
        failpoints.point("daemon.before_commit")
        self.is_urgent = False
        try:
            wrote = self.journal.write()
        except StorageBroken:
            self._go_back()
            raise
        failpoints.point("daemon.written")
        if not wrote:
            self._carry_out()
        return wrote

    def finish_commit(self, error: Optional[OSError]) -> None:
        """Carry out what was decided, now that it is durable.

        Args:
            error: why it could not be made durable.
        Raises:
            StorageBroken: as for ``commit``.
        """
        if error is not None:
            self.journal.truncate()
            self._go_back()
            raise StorageBroken(f"the journal cannot be written: {error.strerror}")
        self.journal.mark_synced()
        failpoints.point("daemon.committed")
        self._carry_out()

    def rollback(self) -> None:
        """After a fault: nothing that was not written down was decided."""
        self.journal.forget_pending()
        self._go_back()

    def compact_if_due(self) -> None:
        """Make the journal short again when most of it is history; nothing may be pending."""
        now = self.clock()
        if self.journal.wants_shorter_copies:
            try:
                self.journal.shorten_copies(entry.to_wire() for entry in states.submits(self.state, now))
            except StorageBroken:
                pass
        if self.journal.wants_compaction(len(self.state.jobs) + len(self.state.deleted)):
            try:
                self.journal.compact((entry.to_wire() for entry in states.snapshot_events(self.state, now)), now)
            except StorageBroken:
                pass  # the long one is as good; a disk that is full has no room for both

    def perform(self, effect: Effect) -> None:
        """Carry out something now: what led to it is durable."""
        why_not = self._performer.carry_out(effect)
        if why_not and isinstance(effect, StartAttempt):
            self.unstarted(effect, why_not)

    def _carry_out(self) -> None:
        effects, self._after_commit = self._after_commit, []
        for effect in effects:
            self.perform(effect)
        self._backend.acknowledge()
        self._unaccepted = []
        self._performer.empty_trash()

    def _go_back(self) -> None:
        """Go back to what the journal says: what was decided could not be written."""
        self._after_commit = []
        for job in self._unaccepted:
            self.perform(RemovePrivate(job))
        self._unaccepted = []
        self.changed()  # the next turn decides it again
        self.state = _replay(self.journal.reload())


def _replay(history: List[JsonTable]) -> HostState:
    state = HostState()
    for line in history:
        states.apply(state, JournalEntry.from_wire(line))
    return state
