"""Where jobs go: the one host that is meant, or the best of several; many at once are spread."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from foundations_tui.config.hosts import LOCAL, HostsConfig
from foundations_tui.errors import FoundationsError, HostRefused, HostUnreachable, NotFoundError
from foundations_tui.session import Session
from foundations_tui.snapshot.freeze import Snapshot
from foundations_tui.store import writes
from remote_agent.protocol import messages
from remote_agent.protocol.resources import Resources

ANY = "any"


@dataclass(frozen=True)
class Need:
    """What a job takes of a host."""

    cpus: int = 1
    gpus: int = 0
    gpu_memory: int = 0
    """MiB of each GPU; 0 for whole ones."""
    ram: int = 0
    """Bytes."""


def candidates(hosts: HostsConfig, choice: str) -> list[str]:
    """Return the hosts that a choice allows: a name, "a,b", "tag:x" or "any".

    ``any`` means this machine only when there is no other.

    Raises:
        NotFoundError: there is no such host.
    """
    if choice == ANY:
        remote = [name for name in hosts.hosts if name != LOCAL]
        return remote or [LOCAL]
    if choice.startswith("tag:"):
        tagged = [name for name, host in hosts.hosts.items() if choice[4:] in host.tags]
        if not tagged:
            raise NotFoundError(f"no host has the tag {choice[4:]!r}", "tags are set in hosts.toml")
        return tagged
    return [hosts.host(name.strip()).name for name in choice.split(",")]


def choose(session: Session, choice: str, needs: list[Need], frozen: Snapshot) -> list[str]:
    """Return the host for each of some jobs: the one that is meant, else where it starts soonest.

    Free GPUs and CPUs count, then how much waits there, then whether the host has the snapshot's last version.

    Raises:
        NotFoundError: there is no such host. HostError: none of several answers, or none could ever run them.
    """
    names = candidates(session.hosts, choice)
    if len(names) == 1:
        return names * len(needs)
    facts, problems = _ask_all(session, names)
    if not facts:
        raise HostUnreachable("no host answers: " + "; ".join(str(error) for error in problems.values()))
    offers = [
        _Offer(name, resources, _has_shipped(session, name, frozen), -names.index(name))
        for name, resources in facts.items()
    ]
    chosen = []
    for need in needs:
        able = [offer for offer in offers if offer.can_ever_run(need)]
        if not able:
            raise HostRefused(
                f"no host that answers has {need.gpus} GPUs and {need.cpus} CPUs: "
                + ", ".join(offer.words for offer in offers)
            )
        best = max(able, key=lambda offer: offer.score(need))
        best.take(need)
        chosen.append(best.name)
    return chosen


class _Offer:
    """What one host has left, while jobs are being placed."""

    def __init__(self, name: str, resources: Resources, has_code: bool, order: int) -> None:
        self.name = name
        self._sizes = sorted((int(gpu.memory_total or 0) for gpu in resources.gpus), reverse=True)
        self._free_gpus = resources.free_gpus
        self._cpus = int(resources.cpus or 0)
        self._free_cpus = int(resources.cpus_free or 0)
        self._ram = int(resources.memory or 0)
        self._queued = int(resources.queued or 0)
        self._has_code = has_code
        self._order = order

    @property
    def words(self) -> str:
        return f"{self.name} has {len(self._sizes)} GPUs and {self._cpus} CPUs"

    def can_ever_run(self, need: Need) -> bool:
        large = sum(1 for size in self._sizes if size >= need.gpu_memory)
        return large >= need.gpus and self._cpus >= need.cpus and (not self._ram or self._ram >= need.ram)

    def score(self, need: Need) -> tuple[float, ...]:
        """Return how well it suits, best highest: starts now, short queue, free GPUs (few for a CPU job)."""
        now = self._free_gpus >= need.gpus and self._free_cpus >= need.cpus and not self._queued
        slots = max(1, len(self._sizes) // max(1, need.gpus) if need.gpus else self._cpus // need.cpus)
        free = self._free_gpus if need.gpus else -len(self._sizes)
        return now, -self._queued / slots, free, self._has_code, self._free_cpus, self._order

    def take(self, need: Need) -> None:
        """Count a job in."""
        if self._free_gpus >= need.gpus and self._free_cpus >= need.cpus and not self._queued:
            self._free_gpus -= need.gpus
            self._free_cpus -= need.cpus
        else:
            self._queued += 1


def _has_shipped(session: Session, name: str, frozen: Snapshot) -> bool:
    journal, _ = writes.cursor(session.store, name)
    return bool(journal) and writes.shipped_tree(session.store, journal, str(frozen.shadow)) is not None


def _ask_all(session: Session, names: list[str]) -> tuple[dict[str, Resources], dict[str, FoundationsError]]:
    """Return what each host has, asked at once, and what went wrong with the others."""
    resources: dict[str, Resources] = {}
    problems: dict[str, FoundationsError] = {}

    def ask(name: str) -> None:
        try:
            agent = session.agent(name)
            agent.hello = agent.call(messages.Hello())
            resources[name] = agent.hello.resources
        except FoundationsError as error:
            problems[name] = error

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: resources[name] for name in names if name in resources}, problems
