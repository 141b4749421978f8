"""Setup lines of a project, run once while its environment is built: what they leave are variables, and jobs get those.

Whether that is all they do is looked at; lines that do more, or that mean a job, are run before each job.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from remote_agent.environments.steps import BuildFailed, Steps

_OF_A_JOB = re.compile(
    r"\$\(|`|\$\$|\$\{?(FOUNDATIONS_|CUDA_VISIBLE_DEVICES|SLURM_|RANDOM|PPID|PWD|HOSTNAME)|\b(cd|trap|ulimit|umask)\b"
)
"""What means another thing in each job, or is none of a variable."""
_OF_A_SHELL = ("PWD", "OLDPWD", "SHLVL", "_")
_LOOK = """
import json, os, resource, sys
mask = os.umask(0)
with open("/proc/self/environ", "rb") as file:  # without what Python itself sets
    pairs = [entry.partition("=") for entry in os.fsdecode(file.read()).split(chr(0)) if entry]
limits = [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if name.startswith("RLIMIT_")]
told = {"variables": {name: value for name, _, value in pairs}, "state": [os.getcwd(), mask, limits]}
with open(sys.argv[1], "w") as file:
    json.dump(told, file)
"""


@dataclass(frozen=True)
class SetupVariables:
    """What setup lines leave in the environment of a process."""

    values: Dict[str, str]
    path: str
    """What stands before the PATH by now."""


def run_once(lines: str, env: Mapping[str, str], steps: Steps, scratch: str) -> Optional[SetupVariables]:
    """Run setup lines, and return what they have left; None when they have to be run before each job.

    Args:
        lines: of shell.
        env: what they find: identity and PATH of the user, as in a job.
        steps: runs programs, and gets a line of log that says what came of them.
        scratch: a folder that is removed afterwards.
    Raises:
        OSError: the disk does not take it.
    """
    found = _OF_A_JOB.search(lines)
    if found:
        steps.say(f"its setup lines are run before each job: they have {found.group()}")
        return None
    folder, report = os.path.join(scratch, "setup"), os.path.join(scratch, "setup.json")
    os.mkdir(folder)
    look = '"$0" -I -S -c "$1" "$2"'
    argv = ["/bin/sh", "-c", f"set -e\n{lines}\n{look}", sys.executable, _LOOK, report]
    steps.say("running its setup lines")
    try:
        steps.run(argv, folder=folder, env=env)
        with open(report, encoding="utf-8") as file:
            told = json.load(file)
    except (BuildFailed, ValueError, FileNotFoundError):
        steps.say("they fail here, so they are run before each job")
        return None
    left = _left(told, env)
    if left is None or os.listdir(folder) or told["state"] != _state(folder):
        steps.say("they do more than to set variables, so they are run before each job")
        return None
    steps.say(f"their variables are kept for its jobs: {', '.join(sorted(left.values)) or 'PATH'}")
    return left


def _state(folder: str) -> Any:
    """Return what a process has beside variables, as lines that change nothing leave it."""
    mask = os.umask(0)
    os.umask(mask)
    names = [name for name in sorted(dir(resource)) if name.startswith("RLIMIT_")]
    limits = [list(resource.getrlimit(getattr(resource, name))) for name in names]
    return [os.path.realpath(folder), mask, limits]


def _left(told: Any, env: Mapping[str, str]) -> Optional[SetupVariables]:
    """Return what is new; None when a variable is gone, or the PATH is not what it was with something before it."""
    after: Dict[str, str] = told["variables"]
    before = env.get("PATH", "")
    path = after.get("PATH", "")
    if not path.endswith(before) or set(env) - set(after):
        return None
    names = [name for name in after if after[name] != env.get(name) and name not in (*_OF_A_SHELL, "PATH")]
    return SetupVariables({name: after[name] for name in names}, path[: len(path) - len(before)])


def to_told(left: Optional[SetupVariables]) -> Any:
    """Return it as the description of an environment has it."""
    return None if left is None else {"variables": left.values, "path": left.path}


def of_told(told: Any) -> Optional[SetupVariables]:
    """Return what stands in the description of an environment."""
    if not isinstance(told, dict) or not isinstance(told.get("variables"), dict):
        return None
    variables = {str(name): str(value) for name, value in told["variables"].items()}
    return SetupVariables(variables, str(told.get("path", "")))
