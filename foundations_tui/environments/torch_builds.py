"""Whether a build of PyTorch, or of another library for CUDA, is too new for the driver of a host. Pure.

A driver runs what was built for its own major version of CUDA, whatever the minor one is, and for older ones:
https://docs.nvidia.com/deploy/cuda-compatibility/.
"""

from __future__ import annotations

import re

_RUNTIME = re.compile(r"(?m)^nvidia-cuda-runtime(?:-cu\d+)?==(\d+)\.(\d+)")
_LOCAL_VERSION = re.compile(r"(?m)^(torch)==[\d.]+(?:\w*)\+cu(\d\d)(\d)\b")
_TORCH = re.compile(r"(?m)^torch==(\S+)")
_BACKENDS = ("cu130", "cu129", "cu128", "cu126", "cu124", "cu121", "cu118")


def cuda_of(lock: str) -> tuple[int, int] | None:
    """Return the CUDA that a lock's packages were built for; None when they name none."""
    match = _RUNTIME.search(lock)
    if match is not None:
        return int(match.group(1)), int(match.group(2))
    local = _LOCAL_VERSION.search(lock)
    return (int(local.group(2)), int(local.group(3))) if local is not None else None


def refusal(lock: str, newest: str) -> str:
    """Return why a host's driver cannot run what a lock names, in words; empty when it can, or that is not known.

    Args:
        lock: requirements.
        newest: CUDA that the driver can run: "12.4".
    """
    built, driver = cuda_of(lock), re.match(r"(\d+)\.(\d+)", newest)
    if built is None or driver is None or built[0] <= int(driver.group(1)):
        return ""
    torch = _TORCH.search(lock)
    name = f"torch {torch.group(1)}" if torch else "what is locked"
    return f"{name} is built for CUDA {built[0]}.{built[1]}, and the driver there runs at most CUDA {newest}"


def backend_for(newest: str) -> str:
    """Return the newest of PyTorch's own indexes whose builds a driver runs; empty for none."""
    driver = re.match(r"(\d+)\.(\d+)", newest)
    if driver is None:
        return ""
    able = (int(driver.group(1)), int(driver.group(2)))
    return next((name for name in _BACKENDS if (int(name[2:4]), int(name[4:])) <= able), "")
