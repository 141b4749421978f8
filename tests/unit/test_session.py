"""How long something is tried again with a host: by a clock of the tests, and connections that are only flags."""

from __future__ import annotations

from typing import cast

import pytest

from foundations_tui import session as module
from foundations_tui.errors import HostUnreachable
from foundations_tui.hosts.agent import Agent
from foundations_tui.session import Session


class Connection:
    """As much of an agent as trying again looks at."""

    is_alive = True


class Clock:
    """Stands in place of the module time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Host(Session):
    """A session whose host fails after some seconds, as often as is said."""

    def __init__(self, clock: Clock, lasts: list[float], drops: bool) -> None:
        super().__init__()
        self.clock, self.lasts, self.drops = clock, lasts, drops
        self.tries = 0

    def agent(self, host: str, asks: bool = True) -> Agent:
        return cast(Agent, Connection())

    def work(self, agent: Agent) -> str:
        self.tries += 1
        if not self.lasts:
            return "done"
        self.clock.now += self.lasts.pop(0)
        cast(Connection, agent).is_alive = not self.drops
        raise HostUnreachable("gone")


def test_what_drops_is_tried_again_for_a_minute(clock: Clock) -> None:
    host = Host(clock, [1.0] * 1000, drops=True)
    with pytest.raises(HostUnreachable):
        host.retrying("local", host.work)
    assert 45 < clock.now - 1000 <= 65


def test_what_went_on_for_long_is_tried_again_each_time_it_drops(clock: Clock) -> None:
    host = Host(clock, [600.0, 2.0, 400.0, 30.0], drops=True)
    assert host.retrying("local", host.work) == "done" and host.tries == 5


def test_a_host_that_fails_while_the_connection_stands_is_given_up_soon(clock: Clock) -> None:
    host = Host(clock, [0.1] * 1000, drops=False)
    with pytest.raises(HostUnreachable):
        host.retrying("local", host.work)
    assert host.tries == 6 and clock.now - 1000 < 10


@pytest.mark.parametrize("drops", [True, False])
@pytest.mark.parametrize("seconds", [10.05, 31.0, 121.0, 1000.0])
def test_time_outs_are_not_taken_for_work(clock: Clock, seconds: float, drops: bool) -> None:
    host = Host(clock, [seconds] * 1000, drops)
    with pytest.raises(HostUnreachable):
        host.retrying("local", host.work, 10)
    assert host.tries <= (2 if seconds < 300 else 25)
