"""Schedules: jobs that a host submits by itself, at times of its own clock. Pure.

The times are those of cron(5), five fields, or every so many seconds. As in Vixie's cron, a day counts if either of its
two fields fits, where both are restricted.
"""

from __future__ import annotations

import functools
import re
from datetime import date, datetime, timedelta, timezone
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Tuple

from remote_agent.protocol import checks
from remote_agent.protocol.checks import flag, moment, number, one_of, sieve, text, whole
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.services import NAME, NAME_RULE
from remote_agent.protocol.wire import CompactMessage, JsonTable, TolerantMessage, field, message

MOST_SCHEDULES = 200
"""Of one host."""
LEAST_EVERY, MOST_EVERY = 1.0, 366 * 86400.0
"""Seconds between two times."""
MOST_WAITING = 20
"""Jobs of one schedule that wait at once."""
LATE_SECONDS = 60.0
"""A time that has passed longer ago is missed: it is said, and not made up for."""
SKIP, QUEUE = "skip", "queue"
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_NAMES: Dict[str, Dict[str, int]] = {
    "month": {name: place for place, name in enumerate(_MONTHS, 1)},
    "weekday": {name: place for place, name in enumerate(_DAYS)},
}
_PART = re.compile(r"(\*|[0-9a-z]{1,4})(?:-([0-9a-z]{1,4}))?(?:/([0-9]{1,3}))?\Z")
_MOST_SHIFT = 2
"""Hours by which a clock is set back at most, in autumn."""
_MOST_DAYS = 41 * 366
"""A Sunday that is the 29th of February may be forty years away."""
schedule_name = text(63, NAME, f"a schedule's name: {NAME_RULE}")


class Cron(NamedTuple):
    """The times of five fields."""

    minutes: Tuple[int, ...]
    hours: Tuple[int, ...]
    days: FrozenSet[int]
    months: FrozenSet[int]
    weekdays: FrozenSet[int]
    """0 is Sunday."""
    has_days: bool
    """Whether the day of the month is restricted."""
    has_weekdays: bool

    def is_day(self, day: date) -> bool:
        """Return whether any of its times are on a day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.has_days and self.has_weekdays else of_month and of_week


@functools.lru_cache(maxsize=1000)
def cron_of(words: str) -> Cron:
    """Return the times that five fields mean.

    Raises:
        BadRequest: they make no sense; the words name the field.
    """
    parts = words.lower().split()
    if len(parts) != len(_FIELDS):
        raise BadRequest(f"a schedule has five fields (minute hour day month weekday), got {len(parts)}: {words!r}")
    sets = [_field(part, *named) for part, named in zip(parts, _FIELDS)]  # noqa: B905 - 3.8
    weekdays = frozenset(day % 7 for day in sets[4])
    cron = Cron(
        tuple(sorted(set(sets[0]))),
        tuple(sorted(set(sets[1]))),
        frozenset(sets[2]),
        frozenset(sets[3]),
        weekdays,
        not parts[2].startswith("*"),
        not parts[4].startswith("*"),
    )
    if not any(cron.is_day(date(2024, 1, 1) + timedelta(days)) for days in range(_MOST_DAYS)):
        raise BadRequest(f"there is no such day: {words!r}")
    return cron


def _field(words: str, name: str, low: int, high: int) -> List[int]:
    found: List[int] = []
    for part in words.split(","):
        match = _PART.match(part)
        if match is None:
            raise BadRequest(f"{name} {words!r}: {part!r} is neither a number, a range, nor *")
        first, last, step = match[1], match[2], int(match[3] or 1)
        if first == "*":
            begin, end = low, high
        else:
            begin = _value(first, name)
            end = _value(last, name) if last else (high if match[3] else begin)
        if not low <= begin <= end <= high or step < 1 or (first == "*" and last):
            raise BadRequest(f"{name} {part!r}: it goes from {low} to {high}")
        found += range(begin, end + 1, step)
    return found


def _value(word: str, name: str) -> int:
    known = _NAMES.get(name, {}).get(word[:3] if word.isalpha() else "")
    if known is not None:
        return known
    if not word.isdigit():
        raise BadRequest(f"{name}: {word!r} is no number")
    return int(word)


def _days_after(moment_: datetime) -> Iterator[date]:
    for days in range(_MOST_DAYS):
        yield moment_.date() + timedelta(days)


def next_of_cron(cron: Cron, after: float, utc: bool) -> float:
    """Return the first of its times behind a moment, seconds since the epoch.

    Args:
        cron: the times.
        after: seconds since the epoch.
        utc: whether they are UTC's; else of the clock of this machine.
    """
    zone = timezone.utc if utc else None
    begin = datetime.fromtimestamp(after, zone)
    for day in _days_after(begin):
        if cron.is_day(day):
            earliest = begin.hour - _MOST_SHIFT if day == begin.date() else 0
            for hour in cron.hours:
                if hour < earliest:
                    continue
                for minute in cron.minutes:
                    found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp()
                    if found > after:
                        return found
    raise BadRequest("it has no time within forty years")


@message
class Schedule(CompactMessage):
    """When a host submits which job."""

    name: str = field(schedule_name)
    spec: JsonTable = field(checks.any_table)
    """Of its jobs, as ``JobSpec`` has it; the id is made for each."""
    then: JsonTable = field(checks.any_table, {})
    """Of the job behind each of them, which carries a chain; {} for none."""
    cron: str = field(text(200), "")
    """Five fields; "" where it is every so many seconds."""
    every: float = field(number(0, MOST_EVERY), 0.0)
    """Seconds between two times, from when it was made; 0 for those of ``cron``."""
    utc: bool = field(flag, False)
    overlap: str = field(one_of(SKIP, QUEUE), SKIP)
    """What happens while its last job has not ended: that time is skipped, or the next job waits for it."""
    by: str = field(text(1000), "")
    at: float = field(moment, 0.0)

    def check(self) -> None:
        """Raise BadRequest when it has no times."""
        if bool(self.cron) == bool(self.every):
            raise BadRequest(f"it needs either five fields, or a time between two jobs: {LEAST_EVERY:g} s at least")
        if self.cron:
            cron_of(self.cron)
        elif self.every < LEAST_EVERY:
            raise BadRequest(f"every {self.every:g} s is too often: {LEAST_EVERY:g} s at least")
        elif self.every > MOST_EVERY:
            raise BadRequest(f"every {self.every / 86400:g} days is too seldom: {MOST_EVERY / 86400:g} days at most")

    def next_after(self, after: float) -> float:
        """Return its first time behind a moment, both in seconds since the epoch."""
        if self.cron:
            return next_of_cron(cron_of(self.cron), after, self.utc)
        found = self.at + ((after - self.at) // self.every + 1) * self.every
        return found if found > after else found + self.every


def shown(moment_: float, utc: bool) -> str:
    """Return a time as a clock shows it: this machine's, or UTC's."""
    zone = timezone.utc if utc else None
    return datetime.fromtimestamp(moment_, zone).astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")


@message
class ScheduleView(TolerantMessage):
    """A schedule as its host tells of it."""

    name: str = field(schedule_name, "")
    cron: str = field(text(200), "")
    every: float = field(number(0, MOST_EVERY), 0.0)
    utc: bool = field(flag, False)
    overlap: str = field(one_of(SKIP, QUEUE), SKIP)
    paused: bool = field(flag, False)
    command: List[str] = field(sieve(text(1000), 1000), [])
    """Clipped."""
    owner: str = field(text(1000), "")
    project: str = field(text(1000), "")
    by: str = field(text(1000), "")
    at: float = field(moment, 0.0)
    next_times: List[float] = field(sieve(moment, 10), [])
    """Its next times, seconds since the epoch; none while it is paused."""
    next_words: List[str] = field(sieve(text(100), 10), [])
    """The same as the clock of the host shows them, or UTC's where the schedule goes by that."""
    last_job: str = field(text(64), "")
    last_at: float = field(moment, 0.0)
    """When that was submitted; 0 for never."""
    missed: int = field(whole(), 0)
    """Times that have passed while the host was off; they are not made up for."""
    missed_at: float = field(moment, 0.0)
    """The last of them."""
    skipped: int = field(whole(), 0)
    """Times at which the job before had not ended."""
    then: str = field(text(2000), "")
    """What is done with what a job has made, in words; "" for nothing."""
    outcome: str = field(text(10_000), "")
    """What has come of that the last time."""
    outcome_at: float = field(moment, 0.0)
    problem: str = field(text(10_000), "")
    """Why no job could be submitted at its last time."""
