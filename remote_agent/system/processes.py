"""Processes: who a pid is, what belongs to an attempt, and how it is ended.

A pid alone is nobody: identity is pid, start time and boot id, checked before every signal. Linux's prctl is
reached through ctypes; without ctypes the agent works, does not hear of re-parented children, and says so.
Sources: proc(5) for /proc/PID/stat, prctl(2) for the option numbers.
"""

from __future__ import annotations

import functools
import itertools
import os
import resource
import signal
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

from remote_agent.protocol.process_identity import ProcessIdentity

try:
    import ctypes

    _libc: Optional[Any] = ctypes.CDLL(None, use_errno=True)
except (ImportError, OSError):
    _libc = None

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
AGENT_MARK = "FOUNDATIONS_AGENT"
"""Environment variable of every agent process: such a one is never part of a job, even when a job started it."""
TOKEN_VARIABLE = "FOUNDATIONS_TOKEN"
Find = Callable[[Optional[Iterable[int]]], Iterable[int]]
"""Picks processes out of some pids, or out of all that there are when it is given None."""


def has_prctl() -> bool:
    """Return whether prctl can be called here."""
    return _libc is not None


def forget_shell() -> None:
    """Take back what the shell that happened to start this process has set for its children.

    A limit is raised as far as it may be; ``tight_limits`` reports one that cannot be.
    """
    os.umask(0o022)
    for number in range(1, signal.NSIG):
        try:
            if signal.getsignal(number) is signal.SIG_IGN and number not in _OURS:
                signal.signal(number, signal.SIG_DFL)
        except (ValueError, OSError):
            continue  # KILL, STOP, and those of the C library
    for number, usual in _USUAL:
        soft, hard = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY and soft < usual:
            try:
                resource.setrlimit(number, (usual if hard == resource.RLIM_INFINITY else min(usual, hard), hard))
            except (ValueError, OSError):
                pass  # no more is allowed
    try:
        os.setpriority(os.PRIO_PROCESS, 0, min(0, os.getpriority(os.PRIO_PROCESS, 0)))
    except OSError:
        pass  # only root may take it back
    for _, number in _LIMITS:
        soft, hard = resource.getrlimit(number)
        for limits in ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (hard, hard)):
            try:
                resource.setrlimit(number, limits)
                break
            except (ValueError, OSError):
                continue  # only root may raise the hard one


def tight_limits() -> List[str]:
    """Return the limits under which jobs run that a shell has set, in words."""
    return [
        f"{words} ({resource.getrlimit(number)[1]})"
        for words, number in _LIMITS
        if resource.getrlimit(number)[1] != resource.RLIM_INFINITY and words in _SELDOM
    ]


_OURS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
"""Signals that Python itself ignores, and gives back to its children, or that we set."""
_USUAL = ((resource.RLIMIT_NOFILE, 1024), (resource.RLIMIT_STACK, 8 << 20))
"""What every system sets at least."""
_LIMITS = (
    ("CPU time", resource.RLIMIT_CPU),
    ("size of files", resource.RLIMIT_FSIZE),
    ("data", resource.RLIMIT_DATA),
    ("address space", resource.RLIMIT_AS),
    ("resident memory", resource.RLIMIT_RSS),
    ("processes", resource.RLIMIT_NPROC),
    ("locked memory", resource.RLIMIT_MEMLOCK),
)
_SELDOM = ("CPU time", "size of files", "data", "address space")
"""Those that no system sets by itself."""


def become_subreaper() -> None:
    """Have orphaned descendants re-parented to this process."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Have this process killed when its parent dies."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def child_setup(dies_with_parent: bool, nice: int) -> "Optional[Callable[[], None]]":
    """Return what a child does between fork and exec; None, which is cheaper, where that is nothing.

    Args:
        dies_with_parent: whether it is killed when its parent dies.
        nice: how much nicer than its parent it is, nice(2).
    """
    if not nice:
        return die_with_parent if dies_with_parent else None

    def set_up() -> None:
        os.nice(nice)
        if dies_with_parent:
            die_with_parent()

    return set_up


@functools.lru_cache(None)
def boot_id() -> str:
    """Return the id of this boot of the machine."""
    return read_text("/proc/sys/kernel/random/boot_id").strip()


def pid_namespace() -> str:
    """Return the pid namespace that this process's pids mean something in."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def start_time(pid: int) -> Optional[int]:
    """Return when a process started, in clock ticks since boot; None when there is none or it is a zombie."""
    stat = _stat(pid)
    return None if stat is None or stat[0] == "Z" else int(stat[19])


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal."""
    stat = _stat(pid)
    return stat is not None and stat[0] == "T"


def identity(pid: int) -> ProcessIdentity:
    """Return what tells this process from a later one with the same pid."""
    return ProcessIdentity(pid, start_time(pid), boot_id())


def is_alive(who: Optional[ProcessIdentity]) -> bool:
    """Return whether exactly this process still runs; None is no process."""
    return who is not None and who.boot == boot_id() and start_time(who.pid) == who.start is not None


def owner(pid: int) -> Optional[int]:
    """Return the user id that a process runs as; None when it cannot be seen."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def started_at(pid: int) -> Optional[float]:
    """Return when a process started, seconds since the epoch."""
    ticks = start_time(pid)
    uptime = read_text("/proc/uptime").split()
    if ticks is None or not uptime:
        return None
    return time.time() - float(uptime[0]) + ticks / os.sysconf("SC_CLK_TCK")


def job_of(pid: int) -> str:
    """Return the job whose environment a process has; empty when there is none, or it is not ours."""
    prefix = b"FOUNDATIONS_JOB_ID="
    entries = [entry for entry in environment_of(pid) if entry.startswith(prefix) and len(entry) > len(prefix)]
    return entries[0][len(prefix) :].decode("ascii", "replace") if entries else ""


def send_signal(pid: int, number: int, started: Optional[int]) -> None:
    """Signal a process if it is still the one that started then."""
    if started is not None and start_time(pid) == started:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def members_of_attempt(token: str, session: Optional[int], among: Optional[Iterable[int]] = None) -> List[int]:
    """Return our processes that belong to an attempt: by session, or by the attempt's token in their environment.

    Args:
        token: the attempt's token.
        session: the session of its main process, if it is known.
        among: the pids to look at; all that there are when it is None.
    """
    needle = f"{TOKEN_VARIABLE}={token}".encode()
    return [
        pid
        for pid in _own_pids(among)
        if (session is not None and _session(pid) == session) or needle in environment_of(pid)
    ]


def descendants(of: int, among: Optional[Iterable[int]] = None) -> List[int]:
    """Return the live descendants of a process, those of other agents' processes left out.

    Args:
        of: the pid of the process.
        among: the pids to look at; all that there are when it is None.
    """
    is_below = {of: True, 0: False}

    def look(pid: int) -> bool:
        line = []
        while pid not in is_below:
            is_below[pid] = False
            line.append(pid)
            pid = _parent(pid)
        for child in reversed(line):
            is_below[child] = is_below[pid] and not is_agent(child)
            pid = child
        return is_below[pid]

    return [pid for pid in _own_pids(among) if pid != of and look(pid)]


def kill_all(find: Find, reap: bool = False, patience: float = 10.0) -> int:
    """Kill what ``find`` returns until it returns nothing twice: a process may fork while it is being killed.

    Args:
        find: gives those of some pids, or of all when it is given None, that are still to be killed.
        reap: collect dead children on the way; for a process that waits for none of them itself.
        patience: seconds after which what cannot be killed is left.
    Returns:
        How many processes were killed.
    """
    killed: Set[int] = set()
    empty = 0
    deadline = time.monotonic() + patience
    for turn in itertools.count():
        pids = _kill_once(find, deadline)
        killed |= pids
        empty = 0 if pids else empty + 1
        if reap:
            _reap()
        if empty == 2 or time.monotonic() > deadline:
            break
        time.sleep(0.001 * min(turn, 20))
    return len(killed)


def _kill_once(find: Find, deadline: float) -> Set[int]:
    """Kill what ``find`` returns, and what it started while we looked.

    What forks and ends every few milliseconds is never in a list of all processes by the time it is read. But its
    child has a higher pid, so the look goes on upwards until no process has been started since.
    """
    last = _newest_pid()
    killed = _kill(find(None))
    while time.monotonic() < deadline:
        newest = _newest_pid()
        if not last < newest:
            break  # nothing new; or pids begin again from below, which the next look at all of them sees
        killed |= _kill(find(range(last + 1, newest + 1)))
        last = newest
    return killed


def _kill(pids: Iterable[int]) -> Set[int]:
    """Kill those of some processes that are alive, and return them."""
    alive = {
        pid: started for pid in pids for started in [start_time(pid)] if started is not None and pid != os.getpid()
    }
    for pid, started in alive.items():
        send_signal(pid, signal.SIGKILL, started)
    return set(alive)


def _newest_pid() -> int:
    """Return the pid that was given last, proc(5) on /proc/loadavg; 0 when it is not known."""
    last = read_text("/proc/loadavg").split()[-1:]
    return int(last[0]) if last and last[0].isdigit() else 0


def is_agent(pid: int) -> bool:
    """Return whether a process is one of an agent's own."""
    return f"{AGENT_MARK}=".encode() in environment_of(pid)


def environment_of(pid: int) -> Set[bytes]:
    """Return the environment a process was started with, as NAME=VALUE, and each NAME= for a look by name."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return set()
    return set(entries) | {entry.split(b"=", 1)[0] + b"=" for entry in entries}


def has_children() -> bool:
    """Return whether this process has children, dead ones collected: a subreaper without any has no descendants."""
    return _reap()


def usage_below(pids: Set[int]) -> Dict[int, Tuple[float, int]]:
    """Return (CPU seconds, bytes of RAM) of all that runs below each of some processes, in one look at /proc."""
    parents: Dict[int, int] = {}
    facts: Dict[int, Tuple[float, int]] = {}
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for pid in _own_pids():
        stat = _stat(pid)
        if stat is not None:
            parents[pid] = int(stat[1])
            facts[pid] = (sum(map(int, stat[11:15])) / tick, int(stat[21]) * page)
    used: Dict[int, Tuple[float, int]] = {}
    for pid, (cpu, ram) in facts.items():
        top = parents[pid]
        while top not in pids and top in parents:
            top = parents[top]
        if top in pids:
            before = used.get(top, (0.0, 0))
            used[top] = (before[0] + cpu, before[1] + ram)
    return used


def memory_used() -> int:
    """Return how much of the host's memory is in use, bytes."""
    facts = {}
    for line in read_text("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            facts[name] = int(value.split()[0]) * 1024
    return max(0, facts.get("MemTotal", 0) - facts.get("MemAvailable", 0))


def oom_kills() -> int:
    """Return how many processes the kernel has killed for memory, on this host or in its part of it; 0 if not known."""
    _, line, rest = read_text("/proc/vmstat").partition("\noom_kill ")
    return int(rest.split(None, 1)[0]) if line else 0


def ram() -> int:
    """Return the memory of the host, bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_total() -> int:
    """Return the host's memory, or what a control group leaves of it, bytes."""
    total = ram()
    limit = read_text("/sys/fs/cgroup/memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _reap() -> bool:
    """Collect dead children; say whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    except ChildProcessError:
        return False


def _own_pids(among: Optional[Iterable[int]] = None) -> List[int]:
    """Return those of some pids, or of all, whose processes run as our user."""
    uid = os.getuid()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()] if among is None else among
    return [pid for pid in pids if owner(pid) == uid]


def _parent(pid: int) -> int:
    """Return the pid of a process's parent; 0 when it has none, or there is no such process."""
    stat = _stat(pid)
    return int(stat[1]) if stat else 0


def _session(pid: int) -> Optional[int]:
    stat = _stat(pid)
    return int(stat[3]) if stat else None


def _stat(pid: int) -> Optional[List[str]]:
    """Return the fields of /proc/PID/stat behind the command's name: state, ppid, pgrp, session, ..."""
    text = read_text(f"/proc/{pid}/stat")
    return text[text.rfind(")") + 2 :].split() if text else None


def read_text(path: str) -> str:
    """Return what a file of the kernel's says; empty when it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
