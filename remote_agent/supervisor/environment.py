"""What a job's process finds around it: variables, interpreter, argument vector."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Sequence

from remote_agent.protocol.errors import AgentError
from remote_agent.protocol.jobs import JobSpec, chance_variables, data_variable, param_variables
from remote_agent.protocol.lease import Lease
from remote_agent.storage import files
from remote_agent.storage.paths import JobPaths, Paths
from remote_agent.system import login

if TYPE_CHECKING:
    from remote_agent.environments.setup_lines import SetupVariables


def variables(spec: JobSpec, attempt: int, lease: Lease, paths: Paths, sdk: str, prefix: str = "") -> Dict[str, str]:
    """Return the environment of a job's process: who the user is, then what was given, then ours.

    Nothing of it comes from the shell that happened to start the agent.

    Args:
        spec: the job.
        attempt: which attempt.
        lease: what it holds.
        paths: the agent's files.
        sdk: the folder that makes ``import foundations`` work.
        prefix: its environment; "" for none.
    """
    job = paths.job(spec.job)
    of_attempt = job.attempt(attempt)
    site, programs = ([of_attempt.site], [of_attempt.bin]) if spec.distributions else ([], [])
    own_code = [*_own_code(spec, of_attempt.work), *site]
    env = {**login.identity(), "PATH": login.path(paths.login_path), **spec.env}
    search = env.get("PATH") or login.USUAL_PATH
    env.update(
        PYTHONUNBUFFERED="1",
        PYTHONPATH=os.pathsep.join(filter(None, [sdk, *own_code, env.get("PYTHONPATH", "")])),
        PATH=os.pathsep.join([*_python_folders(spec, paths.agents, search, prefix), *programs, search]),
        FOUNDATIONS_GPU_INDICES=",".join(map(str, lease.gpu_indices)),
        FOUNDATIONS_JOB_ID=spec.job,
        FOUNDATIONS_PROJECT_NAME=spec.project,
        FOUNDATIONS_ATTEMPT=str(attempt),
        FOUNDATIONS_RECORDS_DIR=of_attempt.records,
        FOUNDATIONS_CHECKPOINT_DIR=job.checkpoints,
        FOUNDATIONS_ARTIFACTS_DIR=job.artifacts,
        FOUNDATIONS_SERVICES=paths.services,
        **_visible_gpus(lease),
    )
    env.update(chance_variables(spec.job_seed, spec.deterministic, spec.env))
    env.update(param_variables(spec.params))
    for name, entry in spec.data.items():
        env[data_variable(name)] = os.path.expanduser(entry["path"])
    return env


def with_variables_of_setup(
    env: Mapping[str, str], left: "Optional[SetupVariables]", spec: JobSpec, prefix: str
) -> Optional[Dict[str, str]]:
    """Return the environment of a job as its setup lines would leave it; None where they have to run in the job.

    They do for a command for their shell, which may use their functions, and where the job itself has one of their
    variables.

    Args:
        env: the environment before them.
        left: what they left when the environment was built; None where they run before each job.
        spec: the job.
        prefix: its environment.
    """
    if left is None or spec.shell:
        return None
    if set(left.values).intersection(env) or set(login.OF_THE_USER).intersection(spec.env):
        return None
    programs = os.path.join(prefix, "bin")
    return {**env, **left.values, "PATH": f"{programs}:{left.path}{env['PATH']}"}


def _own_code(spec: JobSpec, work: str) -> List[str]:
    """Return the folders of the snapshot from which the project's own packages are imported."""
    return [os.path.normpath(os.path.join(work, folder)) for folder in spec.import_path]


def _visible_gpus(lease: Lease) -> Dict[str, str]:
    """Return the variables by which a process sees just its GPUs: NVIDIA's by UUID, AMD's by index."""
    if lease.vendor == "amd":
        indices = ",".join(map(str, lease.gpu_indices))
        return {"ROCR_VISIBLE_DEVICES": indices, "GPU_DEVICE_ORDINAL": ",".join(map(str, range(len(lease.gpus))))}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(lease.gpus)}


def secrets(spec: JobSpec, job: JobPaths) -> Dict[str, str]:
    """Return the secret variables of a job.

    Raises:
        AgentError: their file is gone.
    """
    private = files.read_json(job.private) if spec.secrets else {}
    stored = private.get("secrets") if isinstance(private, dict) else None
    if spec.secrets and (not isinstance(stored, dict) or set(spec.secrets) - set(stored)):
        raise AgentError("its secrets are not on this host any more; submit it again")
    return {name: str(stored[name]) for name in spec.secrets} if stored else {}


def found(word: str, cwd: str, search: str) -> str:
    """Return the file that the first word of a command is, as execvpe(3) finds it; "" when there is none."""
    if os.sep in word:
        path = os.path.join(cwd, os.path.expanduser(word))
        return path if os.path.isfile(path) else ""
    return shutil.which(word, path=search) or ""


def interpreter(spec: JobSpec, search: str, prefix: str = "") -> str:
    """Return the Python that ``python`` means in the job.

    That is the one of its environment, else the one of hosts.toml, else the first ``python``, else the first
    ``python3`` on the job's PATH, else the agent's own: so ``python``, ``pip`` and ``torchrun`` belong together.

    Args:
        spec: the job.
        search: its PATH.
        prefix: its environment; "" for none.
    """
    if prefix:
        return os.path.join(prefix, "bin", "python")
    if spec.python:
        return os.path.expanduser(spec.python)
    return shutil.which("python", path=search) or shutil.which("python3", path=search) or sys.executable


def _python_folders(spec: JobSpec, agents: str, search: str, prefix: str) -> List[str]:
    """Return what stands before the job's PATH, so that ``python`` is its interpreter, and its programs are found."""
    if prefix:
        return [os.path.join(prefix, "bin")]
    python = interpreter(spec, search)
    if not spec.python and python == shutil.which("python", path=search):
        return []
    has_python3 = not spec.python and shutil.which("python3", path=search)
    folders = [_python_commands(agents, python, ("python",) if has_python3 else ("python", "python3"))]
    programs = os.path.dirname(python)
    if spec.python and os.sep in python and programs not in (*_SYSTEM_FOLDERS, *search.split(os.pathsep)):
        folders.append(programs)  # torchrun, accelerate
    return folders


_SYSTEM_FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin")


def _python_commands(agents: str, python: str, names: Sequence[str]) -> str:
    """Return a folder in which names such as ``python`` are the interpreter, made when it is not there.

    They are scripts and not links: a link would hide a virtual environment from its own interpreter.
    """
    mark = "\0".join([python, *names]).encode("utf-8", "surrogateescape")
    folder = os.path.join(agents, "python-" + hashlib.sha256(mark).hexdigest()[:16])
    if os.path.exists(os.path.join(folder, names[-1])):
        return folder
    os.makedirs(folder, 0o700, exist_ok=True)
    for name in names:
        temporary = os.path.join(folder, f"{name}.{os.getpid()}")
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f'#!/bin/sh\nexec {shlex.quote(python)} "$@"\n')
        os.chmod(temporary, 0o700)
        os.replace(temporary, os.path.join(folder, name))
    return folder


SETUP_FAILED = "foundations: a line of the setup of this host failed, so the command was not run (exit code "
"""What the log says then, and the exit code behind it."""
_SETUP = """set -e
trap 'code=$?; echo "%s$code)"; exit 125' EXIT
%s
trap - EXIT
set +e
"""


def with_setup(setup: str, behind: str) -> List[str]:
    """Return what runs the setup lines of a host, and behind them some lines for the same shell."""
    return ["/bin/sh", "-c", _SETUP % (SETUP_FAILED, setup) + behind]


def command(spec: JobSpec, python: str, behind_setup: str = "", prefix: str = "") -> List[str]:
    """Return the argument vector: no shell but where the user asked for one or the host has setup lines.

    Args:
        spec: the job.
        python: what ``python`` means, for a command that is just that.
        behind_setup: a line of shell to be run behind the setup lines; how it ends does not matter.
        prefix: its environment, whose programs come before those that setup lines bring; "" for none.
    """
    if spec.setup:
        first = f"{{ {behind_setup}; }} </dev/null >/dev/null 2>&1 || :\n" if behind_setup else ""
        if prefix:
            first = f"PATH={shlex.quote(os.path.join(prefix, 'bin'))}:$PATH; export PATH\n{first}"
        if spec.shell:
            return with_setup(spec.setup, first + spec.command[0])
        return [*with_setup(spec.setup, first + 'exec "$@"'), "sh", *spec.command]
    words = ["/bin/sh", "-c", spec.command[0]] if spec.shell else list(spec.command)
    if words[0] == "python" or (words[0] == "python3" and (spec.python or prefix)):
        words[0] = python
    return words
