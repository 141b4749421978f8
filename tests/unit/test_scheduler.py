"""The scheduler, the queue, and what is known of GPUs: pure, a clock of numbers."""

from __future__ import annotations

import heapq
import random
import statistics
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from remote_agent.core import scheduler
from remote_agent.core.events import JournalEntry
from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import ALL_GROUPS, HostState, apply, snapshot_events
from remote_agent.core.waits import WaitReasons
from remote_agent.gpu import inventory
from remote_agent.gpu.inventory import ComputeProcess, Gpu
from remote_agent.gpu.occupancy import CLEAR_SECONDS, SETTLE_SECONDS, GpuObservation, Occupancy
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.states import EndReason, JobState, retry_class
from tests.support.paths import DATA

TREE = "a" * 40
GPUS = DATA / "gpus"


def spec(job: str, **options: Any) -> JobSpec:
    return JobSpec(job=job, command=options.pop("command", ("true",)), snapshot=TREE, **options)


def gpu(index: int, used: int = 0, total: int = 80_000) -> Gpu:
    return Gpu(index, f"GPU-{index}", "A100", total, used, 0)


class Host:
    """A state, and the events that change it."""

    def __init__(self, *specs: JobSpec) -> None:
        self.state = HostState()
        self.now = 0.0
        self.submit(*specs)

    def event(self, kind: str, job: str = "", **facts: Any) -> None:
        line = {"seq": self.state.seq + 1, "time": self.now, "type": kind, "job": job, **facts}
        apply(self.state, JournalEntry.from_wire(line))

    def submit(self, *specs: JobSpec) -> None:
        for one in specs:
            self.event("submitted", one.job, spec=one.to_wire())

    def start(self, job: str, lease: Lease | None = None) -> None:
        view = self.state.jobs[job]
        lease = lease or Lease(view.spec.cpus)
        self.event("leased", job, attempt=view.attempt + 1, **lease.to_wire())
        self.event("started", job, started_at=self.now)

    def end(self, job: str, reason: str = "finished", kind: str = "ended") -> None:
        self.event(kind, job, reason_code=reason, reason="", ended_at=self.now)

    def plan(self, capacity: Capacity) -> list[str]:
        """Carry a plan out and return what it started."""
        starts = scheduler.plan(self.state, capacity, self.now).starts
        for job, lease in starts:
            self.start(job, lease)
        return [job for job, _ in starts]

    def why(self, capacity: Capacity) -> dict[str, str]:
        return {job: wait.words for job, wait in scheduler.explain(self.state, capacity, self.now).items()}


# --- order ------------------------------------------------------------------------------------------------------


def test_first_come_first_served_by_slots() -> None:
    host = Host(spec("a"), spec("b"), spec("c"))
    assert host.plan(Capacity(2)) == ["a", "b"]
    assert host.why(Capacity(2)) == {"c": "waits for a CPU slot: all 2 are in use"}


def test_priority_goes_first_then_first_come() -> None:
    host = Host(spec("low"), spec("high", priority=5), spec("also-high", priority=5), spec("lowest", priority=-1))
    assert list(host.state.queue) == ["high", "also-high", "low", "lowest"]
    host.event("moved", "lowest", priority=5, rank=0.5)
    assert list(host.state.queue)[0] == "lowest"


def test_max_jobs_and_ram_bound() -> None:
    host = Host(spec("a"), spec("b"))
    assert host.plan(Capacity(2, max_jobs=1)) == ["a"]
    assert "at most 1 at once" in host.why(Capacity(2, max_jobs=1))["b"]
    gigabyte = 1 << 30
    host = Host(spec("a", ram=20 * gigabyte), spec("b", ram=20 * gigabyte), spec("c"))
    assert host.plan(Capacity(8, ram=32 * gigabyte)) == ["a", "c"]
    assert (
        host.why(Capacity(8, ram=32 * gigabyte))["b"] == "waits for 20 GB of memory: 12 GB are not planned for others"
    )


def test_what_no_host_could_ever_run_is_refused_with_what_the_host_has() -> None:
    capacity = Capacity(4, (gpu(0, total=24_000), gpu(1, total=80_000)), ram=1 << 34)
    assert "asks for 8 CPUs; this host has 4" in capacity.refusal(spec("a", cpus=8))
    assert "asks for 3 GPUs; this host has 2 (A100)" in capacity.refusal(spec("a", gpus=3))
    assert "1 GPUs of that size" in capacity.refusal(spec("a", gpus=2, gpu_memory=40_000))
    assert "asks for 32 GB of memory; this host has 16 GB" in capacity.refusal(spec("a", ram=1 << 35))
    assert capacity.refusal(spec("a", gpus=2)) == ""


def test_gpus_are_leased_by_uuid_and_never_twice() -> None:
    host = Host(spec("a", gpus=1), spec("b", gpus=1))
    plan = scheduler.plan(host.state, Capacity(8, (gpu(0), gpu(1))), 0.0)
    assert [lease.gpus for _, lease in plan.starts] == [("GPU-0",), ("GPU-1",)]


def test_a_share_of_a_gpu_fills_the_fullest_that_has_room() -> None:
    capacity = Capacity(8, (gpu(0), gpu(1)))
    host = Host(*(spec(f"s{n}", gpus=1, gpu_memory=30_000) for n in range(5)), spec("whole", gpus=1))
    assert host.plan(capacity) == ["s0", "s1", "s2", "s3"]
    held = {job: lease.gpus[0] for job, lease in host.state.leases.items()}
    assert held == {"s0": "GPU-0", "s1": "GPU-0", "s2": "GPU-1", "s3": "GPU-1"}
    assert "waits for 29 GB on 1 GPU" in host.why(capacity)["s4"]


def test_a_job_behind_may_not_delay_the_first_that_waits_for_our_own() -> None:
    """Two GPUs are wanted, one is free, the other's job has no known end: the small one would delay the wide one."""
    capacity = Capacity(8, (gpu(0), gpu(1)))
    host = Host(spec("running", gpus=1))
    host.plan(capacity)
    host.submit(spec("wide", gpus=2), spec("small", gpus=1), spec("cpu"))
    assert host.plan(capacity) == ["cpu"]
    assert host.why(capacity)["wide"] == "waits for 2 GPUs: 1 free, 1 leased to jobs"
    assert host.why(capacity)["small"] == "waits behind job wide, which would be delayed"


def test_a_job_that_ends_in_time_goes_ahead() -> None:
    capacity = Capacity(8, (gpu(0), gpu(1)))
    host = Host(spec("running", gpus=1, time_limit=3600))
    host.plan(capacity)
    host.submit(spec("wide", gpus=2), spec("short", gpus=1, time_limit=600), spec("long", gpus=1, time_limit=7200))
    host.now = 60.0
    assert host.plan(capacity) == ["short"]


def test_a_job_that_leaves_enough_for_the_reservation_goes_ahead() -> None:
    capacity = Capacity(8, tuple(gpu(n) for n in range(4)))
    host = Host(spec("a", gpus=1, time_limit=100), spec("b", gpus=2, time_limit=900))
    host.plan(capacity)
    host.submit(spec("wide", gpus=2), spec("small", gpus=1))
    assert host.plan(capacity) == [], "at 100 s the wide one takes a's GPU and the free one"
    host = Host(spec("a", gpus=2, time_limit=100))
    host.plan(capacity)
    host.submit(spec("wide", gpus=3), spec("small", gpus=1))
    assert host.plan(capacity) == ["small"], "at 100 s three are free beside it"


def test_what_others_hold_reserves_nothing() -> None:
    """Nobody knows when they go: the free GPU is not kept idle for that."""
    capacity = Capacity(8, (gpu(0), gpu(1, used=61_000)), held={"GPU-1": "held by another user (uid 1004, pid 4411)"})
    host = Host(spec("wide", gpus=2), spec("small", gpus=1))
    assert host.plan(capacity) == ["small"]
    assert host.why(capacity)["wide"] == (
        "waits for 2 GPUs: 0 free, 1 leased to jobs, 1 held by another user (uid 1004, pid 4411)"
    )


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_nobody_starves_and_nothing_is_leased_twice(seed: int) -> None:
    """A wide job among a stream of small ones, all of unknown length: it starts once those before it have ended."""
    rng = random.Random(seed)
    capacity = Capacity(16, tuple(gpu(n) for n in range(4)))
    host = Host(*(spec(f"s{n}", gpus=rng.randint(1, 2), project=f"s{n}") for n in range(6)))
    host.plan(capacity)
    host.submit(spec("wide", gpus=4))
    for turn in range(40):
        host.now += 10
        host.submit(spec(f"t{turn}", gpus=rng.randint(1, 2), project=f"t{turn}"))
        leased = [uuid for lease in host.state.leases.values() for uuid in lease.gpus]
        assert len(leased) == len(set(leased))
        is_first = next(iter(host.state.queue)) == "wide"
        started = host.plan(capacity)
        assert not is_first or started in ([], ["wide"]), "a later job of unknown length went ahead"
        if host.state.active:
            host.end(rng.choice(sorted(host.state.active)))
        if host.state.jobs["wide"].attempt:
            break
    assert host.state.jobs["wide"].attempt == 1


# --- dependencies, groups, retries ------------------------------------------------------------------------------


def test_a_job_waits_for_others() -> None:
    host = Host(spec("a"), spec("b"), spec("c", after=("a", "b")))
    assert host.plan(Capacity(8)) == ["a", "b"]
    assert host.why(Capacity(8)) == {"c": "waits for jobs a, b"}
    host.end("a")
    assert host.why(Capacity(8)) == {"c": "waits for job b"}
    host.end("b")
    assert host.plan(Capacity(8)) == ["c"]


def test_a_paused_group_does_not_start() -> None:
    host = Host(spec("a", group="g"), spec("b"))
    host.event("paused", groups=["g"])
    assert host.plan(Capacity(8)) == ["b"] and host.why(Capacity(8)) == {"a": "paused"}
    host.event("paused", groups=[ALL_GROUPS])
    assert host.why(Capacity(8)) == {"a": "paused: this host starts no jobs"}
    host.event("resumed", groups=[ALL_GROUPS, "g"])
    assert host.plan(Capacity(8)) == ["a"]


def test_a_retry_keeps_its_place_and_its_past() -> None:
    host = Host(spec("a", retries=2))
    host.start("a")
    host.submit(spec("b"))
    host.end("a", "supervisor_died", "attempt_ended")
    view = host.state.jobs["a"]
    assert view.state is JobState.QUEUED and view.attempt == 1 and list(host.state.queue) == ["a", "b"]
    assert [(past.attempt, past.state) for past in view.attempts] == [(1, "lost")]
    host.start("a")
    assert host.state.jobs["a"].attempt == 2 and host.state.jobs["a"].reason is None


@pytest.mark.parametrize(
    ("reason", "cause", "kind"),
    [
        ("supervisor_died", "", "lost"),
        ("host_rebooted", "", "lost"),
        ("exit_code", "", "failed"),
        ("exit_code", "cuda_oom", "oom"),
        ("signal", "", "signal"),
        ("signal", "oom_killed", "oom"),
        ("command_not_found", "", ""),
        ("stopped_by_user", "", ""),
        ("finished", "", ""),
        ("time_limit", "", "failed"),
    ],
)
def test_what_retry_on_means(reason: str, cause: str, kind: str) -> None:
    assert retry_class(EndReason(reason), cause) == kind


def test_a_compacted_state_is_the_same_state() -> None:
    host = Host(spec("a"), spec("b", after=("a",)), spec("c", gpus=1), spec("d", group="g"), spec("e"))
    host.start("a")
    host.start("c", Lease(1, ("GPU-0",), (0,)))
    host.start("e")
    host.end("e")
    host.event("acknowledged", client="me", jobs=["e"])
    host.event("paused", groups=["g"])
    host.submit(spec("gone"))
    host.end("gone", "stopped_by_user")
    host.event("deleted", "gone")
    again = HostState()
    for event in snapshot_events(host.state, 9.0):
        apply(again, event)
    for name in ("seq", "jobs", "deleted", "active", "leases", "paused", "acknowledged", "pending_notices", "disk"):
        assert getattr(again, name) == getattr(host.state, name), name
    assert list(again.queue) == list(host.state.queue) and again.queue.blocked == host.state.queue.blocked
    for after in range(host.state.seq + 1):
        assert again.changes(after, 1 << 20, 100) == host.state.changes(after, 1 << 20, 100)


# --- estimates --------------------------------------------------------------------------------------------------


@dataclass(order=True)
class _End:
    at: float
    job: str = field(compare=False)


def test_estimates_in_a_simulated_day() -> None:
    """Three users' jobs on four GPUs, each kind with its own spread of durations: half the estimates are near."""
    rng = random.Random(7)
    kinds = {"prep.py": (300, 1), "train.py": (2400, 1), "big.py": (5400, 2)}
    capacity = Capacity(16, tuple(gpu(n) for n in range(4)))
    host = Host()
    arrivals = sorted((rng.uniform(0, 86400), rng.choice(list(kinds))) for _ in range(110))
    running: list[_End] = []
    told: dict[str, tuple[float, float]] = {}
    errors = []
    for number, (moment, kind) in enumerate([*arrivals, (10 * 86400.0, "")]):
        while running and running[0].at <= moment:
            ended = heapq.heappop(running)
            host.now = ended.at
            host.end(ended.job)
            errors += _begin(host, capacity, running, kinds, rng, told)
        if not kind:
            break
        host.now = moment
        job = f"{number:03d}"
        host.submit(spec(job, command=("python", kind, "--lr", str(rng.random())), gpus=kinds[kind][1]))
        errors += _begin(host, capacity, running, kinds, rng, told)
        wait = scheduler.explain(host.state, capacity, host.now).get(job)
        if wait is not None and wait.starts_at is not None:
            told[job] = (host.now, wait.starts_at)
    assert len(errors) >= 30, "there was hardly a queue"
    assert statistics.median(errors) < 0.30, errors


def _begin(
    host: Host,
    capacity: Capacity,
    running: list[_End],
    kinds: dict[str, tuple[int, int]],
    rng: random.Random,
    told: dict[str, tuple[float, float]],
) -> list[float]:
    """Start what can start; return how far off, as a share of the wait, the estimates were that were told."""
    errors = []
    for job in host.plan(capacity):
        kind = host.state.jobs[job].spec.command[1]
        heapq.heappush(running, _End(host.now + kinds[kind][0] * rng.lognormvariate(0, 0.2), job))
        if job in told:
            asked, expected = told[job]
            wait = host.now - asked
            errors.append(abs(expected - host.now) / wait if wait else 0.0)
    return errors


def test_no_estimate_before_five_like_jobs() -> None:
    host = Host(*(spec(f"j{n}", command=("python", "x.py", str(n))) for n in range(6)))
    for n in range(5):
        assert host.state.usual_duration(spec("x", command=("python", "x.py", "99"))) is None
        host.start(f"j{n}")
        host.now += 100
        host.end(f"j{n}")
    assert host.state.usual_duration(spec("x", command=("python", "x.py", "99"))) == 100
    assert host.state.usual_duration(spec("x", command=("python", "y.py", "99"))) is None
    host.start("j5")
    host.submit(spec("next", command=("python", "x.py", "7")))
    assert scheduler.explain(host.state, Capacity(1), host.now)["next"].starts_at == host.now + 100


def _estimate(host: Host, capacity: Capacity, **told_ends: float) -> dict[str, float | None]:
    waits = scheduler.explain(host.state, capacity, host.now, told_ends)
    return {job: wait.starts_at for job, wait in waits.items()}


def _like_jobs(host: Host, seconds: float) -> None:
    """Let five jobs end that took so long: others like them are expected to take as long."""
    for n in range(5):
        host.submit(spec(f"old{n}", command=("python", "x.py", str(n)), gpus=1))
        host.start(f"old{n}")
        host.now += seconds
        host.end(f"old{n}")


def test_what_running_jobs_tell_moves_the_estimates_of_those_behind() -> None:
    """Runs took 40 s; the two that run were given more steps: what waits starts when the first of them says it ends."""
    host, capacity = Host(), Capacity(16, (gpu(0), gpu(1)))
    _like_jobs(host, 40)
    host.submit(*(spec(name, command=("python", "x.py", "9"), gpus=1) for name in ("a", "b", "c", "d")))
    assert host.plan(capacity) == ["a", "b"]
    now = host.now
    assert _estimate(host, capacity) == {"c": now + 40, "d": now + 40}
    assert _estimate(host, capacity, a=now + 300, b=now + 720) == {"c": now + 300, "d": now + 720}
    assert _estimate(host, capacity, a=now + 300) == {"c": now + 300, "d": now + 300}, "b is like a"
    assert _estimate(host, capacity, a=now - 5, b=now - 5) == {"c": now + 40, "d": now + 40}, "both should have ended"
    host.submit(spec("e", command=("python", "x.py", "9"), gpus=1), spec("other", command=("python", "y.py"), gpus=1))
    told = _estimate(host, capacity, a=now + 300, b=now + 300)
    assert (told["e"], told["other"]) == (now + 600, now + 600), "those that wait take as long as those that run"


def test_what_a_job_tells_is_bounded_by_its_time_limit_and_moves_no_job() -> None:
    host, capacity = Host(), Capacity(16, (gpu(0),))
    _like_jobs(host, 40)
    host.submit(spec("a", command=("python", "x.py", "9"), gpus=1, time_limit=100.0), spec("b", gpus=1))
    assert host.plan(capacity) == ["a"]
    assert _estimate(host, capacity, a=host.now + 1e8) == {"b": host.now + 100}
    host.submit(*(spec(name, command=("python", "x.py", "9"), gpus=1, time_limit=100.0) for name in ("c", "d")))
    told = _estimate(host, capacity, a=host.now + 1e8)
    assert told["d"] is None, "b is like nothing that is known"
    host.end("b", "stopped_by_user")
    told = _estimate(host, capacity, a=host.now + 1e8)
    assert (told["c"], told["d"]) == (host.now + 100, host.now + 200), "nor does one like it take longer than its limit"
    host.end("c", "stopped_by_user")
    host.end("d", "stopped_by_user")
    host.submit(spec("b2", gpus=1))
    small = spec("s", command=("python", "x.py", "3"), time_limit=60.0)
    host.submit(small)
    assert scheduler.plan(host.state, capacity, host.now).reserved == "b2"
    assert host.plan(capacity) == ["s"], "what starts does not ask what jobs tell"


def test_a_job_of_which_nothing_is_known_has_an_estimate_and_nothing_behind_it() -> None:
    commands = {"a": "x.py", "b": "x.py", "c": "y.py", "d": "x.py"}
    host = Host(*(spec(name, command=("python", script), gpus=1) for name, script in commands.items()))
    capacity = Capacity(16, (gpu(0),))
    assert host.plan(capacity) == ["a"]
    assert _estimate(host, capacity) == {"b": None, "c": None, "d": None}
    assert _estimate(host, capacity, a=90.0) == {"b": 90.0, "c": 180.0, "d": None}


def test_news_of_ends_are_told_when_they_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    host, capacity = Host(spec("a", gpus=1), spec("b", gpus=1)), Capacity(16, (gpu(0),))
    host.plan(capacity)
    waits = WaitReasons()

    clock = [1000.0]
    monkeypatch.setattr("remote_agent.core.waits.time.monotonic", lambda: clock[0])

    def tell(at_once: bool = True, **time_left: float) -> float | None:
        clock[0] += 1
        waits.take_time_left(time_left, host.state, host.now)
        waits.refresh(host.state, capacity, host.now, at_once)
        return waits.by_job["b"].starts_at

    assert tell(stranger=50.0) is None and waits.version == 1
    assert tell(a=600.0) == 600.0 and waits.version == 2, "the first that is told, at once"
    assert tell(a=615.0) == 600.0 and waits.version == 2, "within 5 %"
    assert tell() == 600.0, "another client that knows nothing"
    assert tell(a=6000.0, at_once=False) == 600.0, "it has just been told, and may move on"
    clock[0] += 31
    assert tell(a=6000.0, at_once=False) == 6000.0 and waits.version == 3, "what was not told is not forgotten"
    assert tell(a=9000.0) == 9000.0, "who asks for the queue is told at once"
    host.end("a")
    host.submit(spec("a2", gpus=1))
    host.start("a2", Lease(1, gpus=("GPU-0",)))
    waits.expire()
    assert tell() is None, "what an ended job told counts no more"


# --- who has a GPU ----------------------------------------------------------------------------------------------


def other(uuid: str, pid: int = 4411) -> ComputeProcess:
    return ComputeProcess(uuid, pid, 62_464, 1004, "", "14:02")


def test_free_means_memory_processes_and_a_settle_time() -> None:
    seen = Occupancy()
    seen.take(GpuObservation(0.0, (gpu(0), gpu(1, used=62_464)), (other("GPU-1"),)))
    assert seen.held(0.0) == {"GPU-1": "held by another user (uid 1004, pid 4411, 61 GB, since 14:02)"}
    seen.take(GpuObservation(100.0, (gpu(0), gpu(1))))
    assert "has to stay free a while" in seen.held(101.0)["GPU-1"] if SETTLE_SECONDS > 101 else True
    seen.take(GpuObservation(105.0, (gpu(0), gpu(1, used=62_464)), (other("GPU-1"),)))
    seen.take(GpuObservation(110.0, (gpu(0), gpu(1))))
    assert "used by others until 6 s ago" in seen.held(111.0)["GPU-1"]
    assert seen.held(105.0 + SETTLE_SECONDS + 1) == {}


def test_where_pids_are_hidden_memory_decides() -> None:
    seen = Occupancy()
    seen.take(GpuObservation(0.0, (gpu(0, used=5_000),)))
    assert seen.held(0.0) == {"GPU-0": "held by a process that cannot be seen (5 GB)"}


def test_another_agents_claim_is_honoured_before_its_job_has_warmed_up() -> None:
    seen = Occupancy()
    seen.take(GpuObservation(0.0, (gpu(0),), claims={"GPU-0": "another agent of ada (uid 1004), since 14:02"}))
    assert "claimed by another agent of ada" in seen.held(0.0)["GPU-0"]


def test_our_own_job_warms_up_undisturbed() -> None:
    seen = Occupancy()
    seen.lease({"GPU-0": "job"}, 0.0)
    seen.take(GpuObservation(1.0, (gpu(0, used=70_000),), (other("GPU-0"),)))
    assert seen.held(1.0) == {}


def test_memory_that_does_not_fall_back_quarantines_until_it_does_or_the_user_says_so() -> None:
    seen = Occupancy()
    seen.take(GpuObservation(0.0, (gpu(0),)))
    seen.lease({"GPU-0": "3f2a91aa"}, 1.0)
    seen.lease({}, 50.0)
    assert "just released by job 3f2a91" in seen.held(50.1)["GPU-0"]
    seen.take(GpuObservation(51.0, (gpu(0, used=30_000),)))
    assert "has ended, but 29 GB of it are still in use" in seen.held(52.0)["GPU-0"]
    assert "in quarantine: 29 GB are still in use" in seen.held(51.0 + CLEAR_SECONDS)["GPU-0"]
    assert seen.quarantined() == ["GPU-0"] and seen.awaits_look(51.0)
    seen.take(GpuObservation(200.0, (gpu(0),)))
    assert seen.held(200.0) == {} and seen.quarantined() == []
    seen.lease({"GPU-0": "x"}, 201.0)
    seen.lease({}, 202.0)
    seen.take(GpuObservation(203.0, (gpu(0, used=30_000),)))
    seen.held(203.0 + CLEAR_SECONDS)
    assert seen.release_quarantine("GPU-0") and not seen.release_quarantine("GPU-0")
    assert "cannot be seen" in seen.held(300.0)["GPU-0"], "it is still in use by somebody"


def test_memory_that_falls_back_frees_at_once() -> None:
    seen = Occupancy()
    seen.lease({"GPU-0": "a"}, 1.0)
    seen.lease({}, 5.0)
    seen.take(GpuObservation(4.9, (gpu(0),)))
    assert "GPU-0" in seen.held(5.1), "that look began before the release"
    seen.take(GpuObservation(5.2, (gpu(0),)))
    assert seen.held(5.3) == {}


def test_a_sick_gpu_is_left_alone_and_the_others_go_on() -> None:
    seen = Occupancy()
    seen.take(
        GpuObservation(0.0, (gpu(0), gpu(1)), sick={"GPU-0": "not healthy: its driver does not answer, since 14:02"})
    )
    assert list(seen.held(0.0)) == ["GPU-0"]


# --- the tools' words -------------------------------------------------------------------------------------------


def recorded(name: str) -> str:
    return (GPUS / name).read_text(errors="replace")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvidia-a100.csv", [(0, 4, False, 61), (1, 61203, True, 389)]),
        ("nvidia-old-driver.csv", [(0, None, False, None), (1, 0, False, 27)]),
        ("nvidia-none.txt", []),
        ("nvidia-failed.txt", []),
        ("garbage.bin", []),
    ],
)
def test_nvidia_smi_is_read(name: str, expected: list[tuple[Any, ...]]) -> None:
    assert [(g.index, g.memory_used, g.looks_busy, g.power) for g in inventory.parse(recorded(name))] == expected


def test_processes_are_read() -> None:
    found = inventory.parse_processes(recorded("nvidia-apps.csv"))
    assert [(process.pid, process.memory) for process in found] == [(4411, 61190), (17, None)]
    assert inventory.parse_processes(recorded("nvidia-failed.txt")) == []


def test_a_divided_gpu_is_leased_by_its_mig_devices() -> None:
    whole = [Gpu(n, uuid, "A100", 40_960, 12, 0) for n, uuid in enumerate(_uuids("nvidia-mig.txt"))]
    found = inventory.with_mig(whole, inventory.parse_mig(recorded("nvidia-mig.txt")))
    assert [(g.index, g.uuid[:12], g.memory_total) for g in found] == [
        (0, "MIG-c7384736", 20_480),
        (0, "MIG-a28ad590", 5_120),
        (1, "GPU-6e2d4baf", 40_960),
    ]
    host = Host(spec("a", gpus=1, gpu_memory=10_000))
    plan = scheduler.plan(host.state, Capacity(4, tuple(found)), 0.0)
    assert plan.starts[0][1].gpus == ("MIG-c7384736-a75d-5afc-978f-d2f1294409fd",)


def _uuids(name: str) -> list[str]:
    return [line.split("UUID: ")[1].rstrip(")") for line in recorded(name).splitlines() if line.startswith("GPU")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "rocm-smi.json",
            [
                (0, "GPU-1f2b8a4e0d3c7a65", "AMD Instinct MI300X", 196_592, 283, 0, 41, 132),
                (1, "GPU-2a3c9b5f1e4d8b76", "AMD Instinct MI300X", 196_592, 143_360, 98, 67, 631),
            ],
        ),
        ("rocm-smi-5.json", [(0, "GPU-2b4a6c8e0f1d3b57", "Radeon RX 6900 XT", 16_368, 1024, 2, 38, 9)]),
        ("garbage.bin", []),
        ("nvidia-none.txt", []),
    ],
)
def test_rocm_smi_is_read(name: str, expected: list[tuple[Any, ...]]) -> None:
    found = inventory.parse_rocm(recorded(name))
    rows = [
        (g.index, g.uuid, g.name, g.memory_total, g.memory_used, g.utilization, g.temperature, g.power) for g in found
    ]
    assert rows == expected and all(g.vendor == "amd" for g in found)


def _numbers(g: Gpu) -> tuple[int | None, ...]:
    return g.memory_total, g.memory_used, g.utilization, g.temperature, g.power


def test_amd_smi_is_read() -> None:
    found = inventory.parse_amd(recorded("amd-smi-list.json"), recorded("amd-smi-metric.json"))
    assert [(g.index, *_numbers(g)) for g in found] == [
        (0, 196_592, 284, 0, 44, 139),
        (1, 196_592, 143_360, 100, 78, 702),
    ]
    assert found[0].uuid == "GPU-9cff74a1-0000-1000-80c2-8f4d6ea7a2b1"
    assert inventory.parse_amd("x", recorded("garbage.bin")) == []


@given(st.text(), st.text())
def test_no_output_of_a_tool_is_an_error(one: str, another: str) -> None:
    (
        inventory.parse(one),
        inventory.parse_processes(one),
        inventory.parse_mig(one),
        inventory.parse_rocm(one),
        inventory.parse_amd(one, another),
    )
    inventory.parse_rocm("{" + one), inventory.parse_amd(one, "[" + another)
