"""How a service is, in a word and in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from foundations_tui.store.services import ServiceRow
from foundations_tui.text import humanize
from remote_agent.protocol.services import (
    CRASH_LOOP,
    SOCKET,
    TOKEN_VARIABLE,
    Replica,
    RevisionHead,
    ServiceView,
    Serving,
    Traffic,
)


def ready_count(view: ServiceView) -> int:
    """Return how many replicas answer, of whatever revision."""
    return sum(1 for replica in view.running if replica.readiness.ready)


def by_revision(view: ServiceView) -> tuple[list[Replica], list[Replica]]:
    """Return the replicas of the wanted revision, and those of others."""
    current = [replica for replica in view.running if replica.revision == view.revision]
    return current, [replica for replica in view.running if replica.revision != view.revision]


def listens_at(replica: Replica) -> str:
    """Return where a replica listens on its host, its socket or its address and port; "" while that is not known."""
    readiness = replica.readiness
    if readiness.socket or not readiness.address:
        return readiness.socket
    address = f"[{readiness.address}]" if ":" in readiness.address else readiness.address
    return f"{address}:{readiness.port}"


def is_failing(replica: Replica) -> bool:
    """Return whether a replica fails again and again; one that answers now does not."""
    return replica.failures >= CRASH_LOOP and not replica.readiness.ready


def is_settled(view: ServiceView) -> bool:
    """Return whether it is as it is wanted: the replicas of the wanted revision answer, and no other runs."""
    current, _ = by_revision(view)
    ready = sum(1 for replica in current if replica.readiness.ready)
    return ready == view.replicas == len(view.running)


def code(view: ServiceView) -> str:
    """Return how it is, in a word.

    "ready", "partly ready", "warming", "rolling", "not ready", "failing", "waiting", "asleep", "stopping", "stopped".
    """
    if not view.replicas:
        return "stopping" if view.running else "stopped"
    if view.asleep:
        return "stopping" if view.running else "asleep"
    if is_settled(view):
        return "ready"
    current, _ = by_revision(view)
    if any(is_failing(replica) for replica in current):
        return "failing"
    if len(current) < len(view.running):
        return "rolling"
    if ready_count(view):
        return "partly ready"
    if any(replica.readiness.warming or replica.state == "preparing" for replica in current):
        return "warming"
    return "waiting" if all(replica.state == "queued" for replica in current) else "not ready"


def words(view: ServiceView, now: float) -> str:
    """Return how it is, in words: what keeps it from being ready comes with it.

    Args:
        view: the service.
        now: seconds since the epoch.
    """
    state = code(view)
    if view.problem:
        return f"{ready_count(view)}/{view.replicas} ready: {view.problem}"
    if state == "asleep":
        idle = humanize.duration(view.probes.idle_stop)
        return f"asleep: nobody asked for {idle}; the next request at its front wakes it, or service restart"
    if state in ("stopped", "stopping"):
        return state
    count = f"{ready_count(view)}/{view.replicas} ready"
    if state == "ready":
        return count if view.replicas > 1 else "ready"
    current, old = by_revision(view)
    why = next((replica_words(replica, now) for replica in current if not replica.readiness.ready), "")
    if state == "failing" and old:
        return f"revision {view.revision} fails, {_revisions(old)} goes on: {why}"
    if state == "rolling":
        done = sum(1 for replica in current if replica.readiness.ready)
        return f"rolling to revision {view.revision}, {done}/{view.replicas}" + (f": {why}" if why else "")
    return f"{count}: {why}" if view.replicas > 1 and why else why or count


def _revisions(replicas: Sequence[Replica]) -> str:
    return "revision " + ", ".join(map(str, sorted({replica.revision for replica in replicas})))


def without_times(view: ServiceView) -> object:
    """Return what there is to tell of a service, without what a clock alone changes."""
    told = [
        (one.job, one.state, one.failures, one.reason, one.readiness.ready, one.readiness.why) for one in view.running
    ]
    return code(view), told


def replica_words(replica: Replica, now: float) -> str:
    """Return how a replica is, in words."""
    if replica.restarts_at is not None:
        left = humanize.duration(max(0.0, replica.restarts_at - now))
        times = "" if replica.failures < 2 else f" (failed {replica.failures} times in a row)"
        return f"begins again in {left}{times}: {replica.reason}"
    if replica.state == "queued":
        return replica.reason or "waits"
    return replica.readiness.words(now) or replica.state


def runs(head: RevisionHead) -> str:
    """Return what a revision runs: its model, or its command."""
    return f"{head.model} {head.version}" if head.model else humanize.command(head.command)


def traffic(view: ServiceView) -> Traffic:
    """Return what all replicas answered lately, together; times are those of the slowest."""
    parts = [replica.readiness.traffic for replica in view.running]
    rate = sum(part.rate for part in parts)
    return Traffic(
        rate=rate,
        p50=max((part.p50 for part in parts), default=0.0),
        p99=max((part.p99 for part in parts), default=0.0),
        errors=sum(part.errors * part.rate for part in parts) / rate if rate else 0.0,
        total=sum(part.total for part in parts),
    )


def traffic_words(view: ServiceView) -> str:
    """Return what its replicas answered lately, in words; "" where they count nothing, or nothing was asked."""
    told = traffic(view)
    if not told.rate:
        return ""
    times = f"p50 {_milliseconds(told.p50)} ms p99 {_milliseconds(told.p99)} ms"
    return f"{_rate(told)}  {times}" + (f"  errors {told.errors:.1%}" if told.errors else "")


def traffic_cell(view: ServiceView) -> str:
    """Return the same for a narrow column: requests per second, p50 and p99, errors."""
    told = traffic(view)
    if not told.rate:
        return ""
    times = f"{_milliseconds(told.p50)}/{_milliseconds(told.p99)} ms"
    return f"{_rate(told)} {times}" + (f" {told.errors:.1%} err" if told.errors else "")


def _rate(told: Traffic) -> str:
    return f"{told.rate:.0f}/s" if told.rate >= 10 else f"{told.rate:.1f}/s"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f}" if seconds >= 0.01 else f"{1000 * seconds:.1f}"


def row_words(row: ServiceRow, now: float) -> str:
    """Return how a service is, in words, as far as its host can be asked."""
    said = words(row.view, now)
    if row.is_lost:
        return f"lost: {row.host} does not know it any more (it was reinstalled, or its journal was damaged)"
    if row.unreachable_since is not None:
        return f"{row.host} is out of reach since {humanize.clock(row.unreachable_since, now)}; before: {said}"
    return said


def words_then(view: ServiceView) -> str:
    """Return how a service was at an earlier moment: of that only its replicas are known, not whether they answered."""
    counts = [
        (one, sum(replica.state == one for replica in view.running)) for one in ("running", "preparing", "queued")
    ]
    told = [f"{humanize.plural(count, 'replica')} {one}" for one, count in counts if count]
    return ", ".join(told) or "no replica"


def is_open(command: Sequence[str], serving: Serving) -> bool:
    """Return whether nothing says that a command keeps others away: neither a token nor a Unix socket."""
    if serving.token_env or any(SOCKET in word for word in command):
        return False
    return not any(TOKEN_VARIABLE in word for word in command)


def model_words(view: ServiceView) -> str:
    """Return which version of a model it is wanted to serve: "churn 7 (champion)"; "" for a command."""
    if not view.model:
        return ""
    return f"{view.model} {view.version}" + (f" ({view.alias})" if view.alias else "")


def access_words(view: ServiceView, host: str) -> str:
    """Return who may reach it on its host, in words that go on after "for"."""
    return {
        "socket": "this account alone (a Unix socket)",
        "token": "whoever has its token",
        "open": f"every user of {host}",
    }[view.access]
