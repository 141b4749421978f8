"""The facts of an attempt, gathered and written down before its command runs."""

from __future__ import annotations

import functools
import json
import os
import re
import time
from typing import Callable, Dict, Mapping, Optional, Sequence, Tuple

import remote_agent
from remote_agent.protocol import checks
from remote_agent.protocol.facts import ControlGroup, Facts
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.services import TOKEN_VARIABLE
from remote_agent.protocol.supervision import StartOrder
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import data_sets, files
from remote_agent.storage.paths import AttemptPaths, JobPaths, Paths
from remote_agent.supervisor import interpreter
from remote_agent.supervisor.used_environment import Used
from remote_agent.system import machine, processes

_TELLING = re.compile(
    r"(CUDA|CUBLAS|CUDNN|NCCL|OMP|MKL|OPENBLAS|NUMEXPR|TORCH|PYTORCH|XLA|TF|JAX|ROCR|HIP|HSA|GOMP|KMP|TOKENIZERS|LC)_"
    r"[A-Z0-9_]+\Z|PYTHON[A-Z0-9]+\Z"
)
"""Names of variables that change what libraries compute, or how fast."""
_TELLING_TOO = (
    *("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"),
    *("LANG", "LANGUAGE", "TZ"),
)
_OF_THE_LEASE = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""The leased GPUs are facts of their own."""
_OURS = ("PYTHONUNBUFFERED",)
_SECRET = re.compile(r"TOKEN(?!IZERS)|KEY|PASS|PWD|SECRET|CREDENTIAL|AUTH|LICENSE|(\A|_)PAT(\Z|_)|TF_VAR_")
"""Names that look like secrets: nobody misses those that are none."""
_LEAST_SECRET = 4
"""Characters of a secret from which its value is looked for in other variables."""
_MOST_LISTED = 200_000
"""Files of data that are listed; more would hold the job up."""
_LIMITS_SECONDS = 60
"""How long the limits of control groups are remembered."""


def write(
    paths: Paths,
    order: StartOrder,
    spec: JobSpec,
    env: Mapping[str, str],
    cwd: str,
    python: str,
    argv: Sequence[str],
    used: Used,
    tick: Callable[[], None],
) -> None:
    """Write the facts of an attempt; a full disk costs the facts, not the job.

    Args:
        paths: the agent's files.
        order: which attempt, and what it holds.
        spec: the job.
        env: its environment.
        cwd: where it starts.
        python: what ``python`` means in the job.
        argv: its command.
        used: its environment.
        tick: called while the interpreter is waited for; what it raises ends that.
    """
    told = packages = None
    if not used.image:  # the Python of an image is not seen from outside
        chosen = interpreter.of_command(argv, python, cwd, env["PATH"])
        told, packages = interpreter.look(paths, chosen, env, cwd, tick)
    facts = Facts(
        recorded_at=time.time(),
        interpreter=told,
        packages=packages,
        environment=spec.environment_hash or None,
        lock=used.lock,
        image=used.image or None,
        kernel=machine.kernel(),
        os=machine.system(),
        libc=machine.libc(),
        machine=os.uname().machine,
        cpu=machine.cpu_model(),
        cpus=len(os.sched_getaffinity(0)),
        ram=processes.ram(),
        cgroup=_limits(int(time.time()) // _LIMITS_SECONDS),
        gpus=list(order.gpus),
        driver=order.driver or machine.driver(),
        cuda=order.cuda or None,
        remote=_text(spec.git.get("remote")),
        variables=telling(env, (*spec.secrets, TOKEN_VARIABLE), _ours(paths, order, used)),
        seed=spec.job_seed,
        deterministic=spec.deterministic,
        data={name: _datum(entry) for name, entry in spec.data.items()},
        agent=remote_agent.__version__,
        agent_hash=order.agent or None,
        client=spec.client_version or None,
    )
    attempt = paths.job(order.job).attempt(order.attempt)
    _put(attempt.early_facts if spec.setup else attempt.facts, facts.to_wire())


def _datum(entry: JsonTable) -> JsonTable:
    """Return what is known of data: the hash of a data set, which was checked when it came, or of a listing."""
    path, digest = os.path.expanduser(entry["path"]), entry.get("hash") or None
    if digest == "listing":
        digest = data_sets.listing_hash(path, _MOST_LISTED)
    return {"path": path, "hash": digest}


def _ours(paths: Paths, order: StartOrder, used: Used) -> Tuple[str, ...]:
    """Return folders in lists of folders that say nothing of a job beyond what is recorded of it anyway."""
    work = paths.job(order.job).attempt(order.attempt).work
    return (paths.sdk(order.agent), paths.agents, work, *filter(None, [used.prefix]))


def look_again(paths: Paths, job: JobPaths, attempt: AttemptPaths, env: Mapping[str, str], cwd: str) -> None:
    """Write the facts of an attempt with the interpreter, packages and variables that setup lines have left.

    Args:
        paths: the agent's files.
        job: the job's.
        attempt: whose facts were gathered before.
        env: the environment behind the setup lines.
        cwd: where the command starts.
    """
    early: JsonTable = files.read_json(attempt.early_facts) or {}
    spec = JobSpec.from_wire(files.read_json(job.spec) or {})  # its secrets stay out, or nothing is written
    search = env.get("PATH", "")
    python = interpreter.first_python(search)
    if not spec.shell:
        python = interpreter.of_command(spec.command, python, cwd, search)
    told, packages = interpreter.look(paths, python, env, cwd, lambda: None) if python else (None, None)
    variables = telling(env, (*spec.secrets, TOKEN_VARIABLE), (paths.agents,))
    changed = Facts(interpreter=told, packages=packages, variables=variables).to_wire()
    _put(attempt.facts, {**early, **{name: changed[name] for name in ("interpreter", "packages", "variables")}})


def telling(env: Mapping[str, str], secrets: Sequence[str], ours: Sequence[str]) -> Dict[str, str]:
    """Return the variables of an environment that change what libraries do.

    Args:
        env: all of them.
        secrets: names of those that are written down nowhere.
        ours: folders of the agent's, left out of lists of folders: they say nothing of the job.
    """
    kept: Dict[str, str] = {}
    hidden = [value for value in (env.get(name, "") for name in secrets) if len(value) >= _LEAST_SECRET]
    for name in sorted(env):
        if any(value in env[name] for value in hidden):
            continue
        is_telling = name in _TELLING_TOO or _TELLING.match(name)
        if is_telling and name not in (*_OF_THE_LEASE, *_OURS, *secrets) and not _SECRET.search(name):
            value = _without(env[name], ours) if name in ("PATH", "PYTHONPATH") else env[name]
            if value:
                kept[name] = checks.writable(value)
    return kept


def _without(folders: str, ours: Sequence[str]) -> str:
    def is_ours(folder: str) -> bool:
        return any(folder == own or folder.startswith(own + os.sep) for own in ours)

    return os.pathsep.join(folder for folder in folders.split(os.pathsep) if not is_ours(folder))


@functools.lru_cache(1)
def _limits(minute: int) -> ControlGroup:
    return ControlGroup(machine.cgroup_cpus(), machine.cgroup_memory())


def _text(value: object) -> Optional[str]:
    return value if isinstance(value, str) and value else None


def _put(path: str, facts: Mapping[str, object]) -> None:
    try:
        with open(path, "xb") as file:  # nobody reads what is not a whole line
            file.write(json.dumps(facts).encode() + b"\n")
    except OSError:
        pass
