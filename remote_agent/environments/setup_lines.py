"""Setup lines of a project, run once while its environment is built: jobs get the variables that they leave.

That is right only for lines that do the same for every job and do nothing else. So each has to be of a known form
(``module load``, ``export``, sourcing a file by its absolute path), and what they did is looked at. All other lines run
before each job.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from remote_agent.environments.steps import Steps
from remote_agent.system import login

_WORD = r"[\w./+:@%=,-]+"
_VALUE = r"(?:[\w./+:@%=,-]|\$\w+|\$\{\w+\})*"
_FORMS = re.compile(
    rf"""\s*(?:\#.*
    |(?:module|ml)(?:\s+{_WORD})+
    |export(?:\s+[A-Za-z_]\w*=(?:{_VALUE}|"{_VALUE}"|'[\w./+:@%=, -]*'))+
    |(?:\.|source)\s+/{_WORD}
    )?\s*\Z""",
    re.VERBOSE | re.ASCII,
)
_READ = re.compile(r"\$\{?(\w+)")
_SET = re.compile(r"([A-Za-z_]\w*)=")
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|_KEY|APIKEY", re.IGNORECASE)
_OF_A_SHELL = ("PWD", "OLDPWD", "SHLVL", "_")
_MARK = "of-a-job-that-is-not-there"
"""Value of the variables of a job while the lines run: where it turns up, they mean a job."""
_OF_A_JOB = (
    *("FOUNDATIONS_JOB_ID", "FOUNDATIONS_PROJECT_NAME", "FOUNDATIONS_ATTEMPT", "FOUNDATIONS_RECORDS_DIR"),
    *("FOUNDATIONS_CHECKPOINT_DIR", "FOUNDATIONS_ARTIFACTS_DIR", "FOUNDATIONS_GPU_INDICES", "FOUNDATIONS_SEED"),
    *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
)
_SECONDS = 300.0
_MOST_OUTPUT = 1 << 20
_LOOK = """
import json, os, sys
with open("/proc/self/environ", "rb") as file:  # without what Python itself sets
    pairs = [entry.partition("=") for entry in os.fsdecode(file.read()).split(chr(0)) if entry]
with open("/proc/self/limits") as file:
    limits = file.read()
mask = os.umask(0)
os.umask(mask)
told = {"variables": {name: value for name, _, value in pairs}, "state": [os.getcwd(), mask, limits]}
with open(sys.argv[1], "w") as file:
    json.dump(told, file)
"""


@dataclass(frozen=True)
class SetupVariables:
    """What setup lines leave in the environment of a process."""

    values: Dict[str, str]
    path: str
    """What stands before the PATH by now, with a colon at its end; "" for nothing."""


def run_once(lines: str, env: Mapping[str, str], steps: Steps, scratch: str) -> Optional[SetupVariables]:
    """Run setup lines, and return what they leave; None when they have to run before each job.

    Args:
        lines: of shell.
        env: what they find: identity and PATH of the user, as in a job.
        steps: gets lines of log that say what came of it.
        scratch: a folder that is removed afterwards.
    Raises:
        OSError: the disk does not take it.
    """
    known = {*login.OF_THE_USER, "PATH"}
    for line in lines.splitlines():
        if not _FORMS.match(line) or not set(_READ.findall(line)) <= {*known, *_SET.findall(line)}:
            steps.say(f"setup runs before each job, because of the line: {line.strip()[:200]}")
            return None
        known.update(_SET.findall(line))
    steps.say("running the project's setup lines")
    before, after = _look("", env, steps, scratch), _look(lines, env, steps, scratch)
    if before is None or after is None:
        steps.say("they fail here, so setup runs before each job")
        return None
    left = _left(before["variables"], after["variables"])
    if left is None or before["state"] != after["state"] or os.listdir(os.path.join(scratch, "setup")):
        steps.say("they do more than set variables, so setup runs before each job")
        return None
    names = sorted([*left.values, *(["PATH"] if left.path else [])])
    steps.say(f"jobs get these variables of theirs: {', '.join(names)}" if names else "they set no variables")
    return left


def _look(lines: str, env: Mapping[str, str], steps: Steps, scratch: str) -> Any:
    """Run lines, and return what a program finds behind them; None when they fail or leave a process behind."""
    folder, report, output = (os.path.join(scratch, name) for name in ("setup", "setup.json", "setup.log"))
    os.makedirs(folder, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(report)
    look = shlex.join([sys.executable, "-I", "-S", "-c", _LOOK, report])
    of_a_job = dict.fromkeys(_OF_A_JOB, _MARK)
    with open(output, "wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"set -e\n{lines}\n{look}"],
            env={**of_a_job, **env},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        code = -1
    is_busy = _end_group(process.pid)
    process.wait()
    with open(output, "rb") as log:
        steps.show(log.read(_MOST_OUTPUT).decode("utf-8", "replace"))
    if code != 0 or is_busy:
        return None
    try:
        with open(report, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None  # a line has ended the shell


def _end_group(group: int) -> bool:
    """End the processes of a group, and return whether there were any."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
        return True
    return False


def _left(before: Mapping[str, str], after: Mapping[str, str]) -> Optional[SetupVariables]:
    """Return what is new; None where a variable is gone, seems secret or means a job, or PATH did not just grow."""
    values = {name: value for name, value in after.items() if value != before.get(name)}
    for name in (*_OF_A_SHELL, "PATH"):
        values.pop(name, None)
    old, new = before.get("PATH", ""), after.get("PATH", "")
    is_prepended = new == old or new.endswith(":" + old)
    if not is_prepended or set(before) - set(after) or any(map(_SECRET.search, values)):
        return None
    if set(values).intersection(_OF_A_JOB) or any(_MARK in value for value in (*values.values(), new)):
        return None
    return SetupVariables(values, new[: len(new) - len(old)])


def to_told(left: Optional[SetupVariables]) -> Any:
    """Return it as the description of an environment has it."""
    return None if left is None else {"variables": left.values, "path": left.path}


def of_told(told: Any) -> Optional[SetupVariables]:
    """Return what stands in the description of an environment; None where the lines run before each job."""
    if not isinstance(told, dict) or not isinstance(told.get("variables"), dict):
        return None
    variables = {str(name): str(value) for name, value in told["variables"].items()}
    return SetupVariables(variables, str(told.get("path", "")))
