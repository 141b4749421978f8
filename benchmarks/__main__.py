"""``make bench``: run all benchmarks, or those named; print a line each."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile

_ALL = (
    "submit",
    "listing",
    "snapshot",
    "agent",
    "scheduler",
    "tracking",
    "app",
    "live",
    "soak",
    "environments",
    "connect",
    "model_server",
)


def main(names: list[str]) -> None:
    """Run benchmarks in a home of their own."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled modules
    print(f"{'ms':>8} {'floor':>8} {'ratio':>6} {'aim':>5}")
    for name in names or _ALL:
        with tempfile.TemporaryDirectory(prefix="foundations-bench-") as home:
            os.environ["FOUNDATIONS_HOME"] = home
            found = importlib.import_module(f"benchmarks.{name}").run()
        for pair in found if isinstance(found, list) else [found]:
            figures = f"{pair.ours * 1000:8.1f} {pair.floor * 1000:8.1f} {pair.ratio:6.2f} {pair.aim:5.1f}"
            print(f"{figures}  {pair.name}", flush=True)


main(sys.argv[1:])
