"""One run of the client: configuration, the store, and a connection to each host, opened once and when needed."""

from __future__ import annotations

import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from foundations_tui.config import client_log
from foundations_tui.config.hosts import HostsConfig, load_hosts
from foundations_tui.errors import HostUnreachable
from foundations_tui.hosts.asking import NOBODY, Asker

if TYPE_CHECKING:  # 100 ms of imports, which the app's first picture need not wait for
    from foundations_tui.hosts.agent import Agent
    from foundations_tui.store.db import Store
    from remote_agent.protocol.messages import A, Request
    from remote_agent.protocol.roles import HostTools

T = TypeVar("T")
_log = logging.getLogger(__name__)
Say = Callable[[str], None]
"""Takes a line for the user about what is going on."""

_RETRY_SECONDS = 60.0
_MOST_REPEATS = 6
"""Failures in a row on one connection: then it is the host that does not answer, not the connection that drops."""
_LONG_TRY, _MOST_BEGUN_ANEW = 300.0, 20
"""Seconds after which a try has done something: more than any time-out of ours; and how often that counts."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 8.0


def silent(words: str) -> None:
    """Say nothing."""


class Session:
    """What one process of the client holds. Threads share it; each has a store of its own."""

    def __init__(
        self,
        hosts: HostsConfig | None = None,
        asker: Asker = NOBODY,
        say: Say = silent,
        connect_timeout: float = 10.0,
    ) -> None:
        """Make a session; nothing is opened yet.

        Args:
            hosts: hosts.toml; read when not given.
            asker: answers what connections ask: about unknown host keys, and for passphrases.
            say: takes lines about reconnecting and the like.
            connect_timeout: seconds for a connection.
        Raises:
            ConfigError: hosts.toml is wrong.
        """
        self.hosts = hosts or load_hosts()
        client_log.start()
        self.say = say
        self._asker = asker
        self._connect_timeout = connect_timeout
        self._agents: dict[str, Agent] = {}
        self._locks: dict[str, threading.Lock] = {name: threading.Lock() for name in self.hosts.hosts}
        self._threads = threading.local()
        self.tools: dict[str, tuple[float, HostTools]] = {}
        """What hosts have to build environments with, and when that was seen, on the monotonic clock."""

    def answered_by(self, asker: Asker) -> None:
        """Let somebody else answer what connections ask from now on."""
        self._asker = asker

    def reload_hosts(self) -> list[str]:
        """Read hosts.toml again; return the hosts that are new.

        Raises:
            ConfigError: it is wrong; what was read before still holds.
        """
        hosts = load_hosts()
        new = [name for name in hosts.hosts if name not in self.hosts.hosts]
        self._locks.update((name, threading.Lock()) for name in new if name not in self._locks)
        self.hosts = hosts
        return new

    @property
    def store(self) -> Store:
        """This thread's store."""
        from foundations_tui.store.db import Store

        if not hasattr(self._threads, "store"):
            self._threads.store = Store()
        store: Store = self._threads.store
        return store

    def agent(self, host: str, asks: bool = True) -> Agent:
        """Return the connected agent of a host.

        Args:
            host: which.
            asks: whether a connection may ask something; it asks in this thread.
        Raises:
            NotFoundError: there is no such host. HostError: it is out of reach or refuses.
        """
        from foundations_tui.hosts.agent import Agent
        from foundations_tui.store import writes

        settings = self.hosts.host(host)
        with self._locks[host]:
            known_agent = self._agents.get(host)
            if known_agent is not None and known_agent.is_alive:
                return known_agent
            if known_agent is not None:
                known_agent.close()
                del self._agents[host]
            try:
                agent = Agent(settings, self._asker if asks else NOBODY, self._connect_timeout)
            except HostUnreachable as error:
                _log.warning("%s", error, extra={"action": "connect", "host": host})
                writes.put_unreachable(self.store, host, str(error))
                raise
            _log.info("agent %s", agent.hello.version, extra={"action": "connect", "host": host})
            self._agents[host] = agent
        hello = agent.hello
        writes.put_contact(self.store, host, hello.resources, hello.problems, hello)
        return agent

    def retrying(self, host: str, action: Callable[[Agent], T], seconds: float = _RETRY_SECONDS) -> T:
        """Do something with a host's agent; when the connection drops in the middle, connect again and repeat it.

        The first connection must succeed: a host that is out of reach from the beginning is an error at once.

        Args:
            host: which.
            action: safe to be done twice.
            seconds: how long to try again, from the first failure on; what has gone on for minutes begins anew.
        Raises:
            HostError: it did not come back in time, or fails again and again on a connection that stands.
        """
        agent = self.agent(host)
        deadline, pause, repeats, begun_anew = 0.0, _FIRST_PAUSE, 0, 0
        said = ""
        while True:
            began = time.monotonic()
            try:
                agent = agent if agent.is_alive else self.agent(host)
                return action(agent)
            except HostUnreachable as error:
                now = time.monotonic()
                if not deadline:
                    deadline = now + seconds
                elif now - began > _LONG_TRY and begun_anew < _MOST_BEGUN_ANEW:
                    deadline, pause, begun_anew, said = now + seconds, _FIRST_PAUSE, begun_anew + 1, ""
                repeats = repeats + 1 if agent.is_alive else 0
                if now + pause > deadline or repeats == _MOST_REPEATS:
                    raise
                if str(error) != said:
                    said = str(error)
                    self.say(f"{error}; reconnecting")
                _log.warning("%s; reconnecting", error, extra={"action": "connect", "host": host})
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def ask(self, host: str, request: Request[A]) -> A:
        """Ask a host's agent, over dropped connections: only what may be repeated is asked so.

        Raises:
            HostError: the host is out of reach.
        """
        return self.retrying(host, lambda agent: agent.call(request))

    def close(self) -> None:
        """End all connections; agents and jobs go on."""
        for host in list(self._agents):
            with self._locks[host]:
                agent = self._agents.pop(host, None)
            if agent is not None:
                agent.close()

    @functools.cached_property
    def client_id(self) -> str:
        """The id of this installation."""
        from foundations_tui.store import writes

        return writes.put_client_id(self.store, uuid.uuid4().hex[:12])
