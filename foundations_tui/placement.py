"""Where a job goes: the one host that is meant, or the best of several."""

from __future__ import annotations

import threading

from foundations_tui.config import LOCAL, HostsConfig
from foundations_tui.errors import FoundationsError, HostUnreachable, NotFoundError
from foundations_tui.session import Session, contact_facts

ANY = "any"


def candidates(hosts: HostsConfig, wish: str) -> list[str]:
    """Return the hosts that a wish allows: a name, "a,b", "tag:x" or "any".

    ``any`` means this machine only when there is no other.

    Raises:
        NotFoundError: there is no such host.
    """
    if wish == ANY:
        remote = [name for name in hosts.hosts if name != LOCAL]
        return remote or [LOCAL]
    if wish.startswith("tag:"):
        tagged = [name for name, host in hosts.hosts.items() if wish[4:] in host.tags]
        if not tagged:
            raise NotFoundError(f"no host has the tag {wish[4:]!r}", "tags are set in hosts.toml")
        return tagged
    return [hosts.host(name.strip()).name for name in wish.split(",")]


def choose(session: Session, wish: str, cpus: int, gpus: int) -> str:
    """Return the host for a job: the one that is meant, else the one with the most free of what the job needs.

    Raises:
        NotFoundError: there is no such host. HostError: none of several answers.
    """
    names = candidates(session.hosts, wish)
    if len(names) == 1:
        return names[0]
    found, problems = _ask_all(session, names)
    if not found:
        raise HostUnreachable("no host answers: " + "; ".join(str(error) for error in problems.values()))
    return max(found, key=lambda name: (*_fitness(found[name], cpus, gpus), -names.index(name)))


def _fitness(resources: dict[str, object], cpus: int, gpus: int) -> tuple[bool, bool, int, int]:
    """Return how well a host suits, best highest: can run it at all, can run it now, free GPUs, free CPUs."""
    all_gpus = resources.get("gpus")
    gpu_list = all_gpus if isinstance(all_gpus, list) else []
    free_gpus = sum(1 for gpu in gpu_list if not gpu.get("job") and not gpu.get("busy"))
    free_cpus, all_cpus = int(str(resources.get("cpus_free") or 0)), int(str(resources.get("cpus") or 0))
    ever = len(gpu_list) >= gpus and all_cpus >= cpus
    return ever, ever and free_gpus >= gpus and free_cpus >= cpus, free_gpus if gpus else -free_gpus, free_cpus


def _ask_all(session: Session, names: list[str]) -> tuple[dict[str, dict[str, object]], dict[str, FoundationsError]]:
    """Return what each host has, asked at once, and what went wrong with the others."""
    found: dict[str, dict[str, object]] = {}
    problems: dict[str, FoundationsError] = {}

    def ask(name: str) -> None:
        try:
            resources = contact_facts(session.agent(name))["resources"]
            assert isinstance(resources, dict)
            found[name] = resources
        except FoundationsError as error:
            problems[name] = error

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, problems
