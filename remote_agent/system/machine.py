"""What this machine is: kernel, system, CPUs, and what control groups leave of it. Unknown is None."""

from __future__ import annotations

import functools
import os
from typing import Dict, List, Optional

from remote_agent.system.processes import read_text

_CGROUP = "/sys/fs/cgroup"


@functools.lru_cache(None)
def kernel() -> str:
    """Return the kernel's name and release."""
    name = os.uname()
    return f"{name.sysname} {name.release}"


@functools.lru_cache(None)
def system() -> Optional[str]:
    """Return the name of the distribution, os-release(5)."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        for line in read_text(path).splitlines():
            key, _, value = line.partition("=")
            if key == "PRETTY_NAME" and value.strip("\"'"):
                return value.strip("\"'")
    return None


@functools.lru_cache(None)
def libc() -> Optional[str]:
    """Return the C library with its version; musl tells none."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None


@functools.lru_cache(None)
def cpu_model() -> Optional[str]:
    """Return the model of the first CPU: machines with several kinds are none that jobs run on."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Processor", "cpu", "uarch") and value.strip():
                    return value.strip()
    except OSError:
        pass
    return None


def driver() -> Optional[str]:
    """Return the version of the loaded GPU driver, as the kernel has it."""
    for module in ("nvidia", "amdgpu"):
        version = read_text(f"/sys/module/{module}/version").strip()
        if version:
            return version
    return None


def cgroup_cpus() -> Optional[float]:
    """Return how many CPUs' worth of time the control groups of this process leave; None for no bound."""
    shares: List[float] = []
    for folder in _own_folders("cpu"):
        quota, _, period = read_text(f"{folder}/cpu.max").strip().partition(" ")
        quota = quota or read_text(f"{folder}/cpu.cfs_quota_us").strip()
        period = period or read_text(f"{folder}/cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period):
            shares.append(int(quota) / int(period))
    return min(shares) if shares else None


def cgroup_memory() -> Optional[int]:
    """Return the bytes of memory that the control groups of this process leave; None for no bound."""
    limits: List[int] = []
    for folder in _own_folders("memory"):
        limit = (read_text(f"{folder}/memory.max") or read_text(f"{folder}/memory.limit_in_bytes")).strip()
        if limit.isdigit() and int(limit) < _NO_LIMIT:
            limits.append(int(limit))
    return min(limits) if limits else None


_NO_LIMIT = 1 << 60
"""What version 1 says for no limit is a number of about 2**63."""


def _own_folders(controller: str) -> List[str]:
    """Return the folders of the control group of this process and of those around it, for one controller."""
    paths: Dict[str, str] = {}
    for line in read_text("/proc/self/cgroup").split("\n"):
        if line.count(":") < 2:
            continue
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            paths[name] = path
    top = _CGROUP if "" in paths and controller not in paths else f"{_CGROUP}/{controller}"
    parts = [part for part in paths.get(controller, paths.get("", "")).split("/") if part]
    return [os.path.join(top, *parts[:depth]) for depth in range(len(parts) + 1)]
