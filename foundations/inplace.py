"""A run outside of a job: ``python train.py`` on this machine, tracked in place.

The run has a folder in the client's data: what it is (``run.json``), its records, its artifacts, and how it ended
(``end.json``). A marker beside it tells the client that there is something to take in. A run that is killed writes no
end; the client finds that out by its pid and start time.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import subprocess
import sys
import time

from foundations import encoding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

_GIT_SECONDS = 2.0

_folder = ""
_owner = 0
"""Pid of the process that the run is; a forked child is only a part of it."""
_is_interactive_run = False
"""Whether a console or notebook drives it: what fails there does not end the process."""
_exit: "Optional[SystemExit]" = None
_program: "Any" = None
"""The code that the main thread began with."""


def begin() -> None:
    """Begin a run of this process: records have a place then.

    Raises:
        OSError: its folder cannot be made.
    """
    global _folder, _owner
    top = os.path.join(data_folder(), "runs")
    identity = _identity()
    _folder = _make_folder(top, identity)
    facts = _facts(identity)
    _write_json(os.path.join(_folder, "run.json"), facts, replaces=_is_leading())
    _mark(_folder)
    os.environ.update(
        FOUNDATIONS_JOB_ID=identity,
        FOUNDATIONS_PROJECT_NAME=facts["project"],
        FOUNDATIONS_RECORDS_DIR=os.path.join(_folder, "records"),
        FOUNDATIONS_ARTIFACTS_DIR=os.path.join(_folder, "artifacts"),
        FOUNDATIONS_RUN=_folder,
    )
    if _is_child():
        _watch_child()
    elif _is_first_rank():
        _owner = os.getpid()
        _watch_end()


def join() -> None:
    """Take part in the run that the environment names: a child of its process, or that process after an exec."""
    global _folder, _owner
    folder = os.environ["FOUNDATIONS_RUN"]
    try:
        _mark(folder)
        facts = _read_json(os.path.join(folder, "run.json"))
    except (OSError, ValueError):
        return
    mine = facts.get("pid") == os.getpid() and facts.get("start_time") == start_time(os.getpid())
    if mine and _owner != os.getpid():
        _folder, _owner = folder, os.getpid()
        _watch_end()


def _mark(folder: str) -> None:
    """Tell the client that there is something to take in."""
    job = os.path.basename(os.path.dirname(folder))
    new = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(folder))), "new")
    os.makedirs(new, 0o700, exist_ok=True)
    with open(os.path.join(new, job), "w"):
        pass


def set_project(name: str) -> None:
    """Move the run of this process to another project."""
    if _owner != os.getpid():
        return
    path = os.path.join(_folder, "run.json")
    try:
        _write_json(path, {**_read_json(path), "project": name})
    except (OSError, ValueError):
        pass  # the folder is gone, and the run with it


def data_folder() -> str:
    """Return where the client keeps its data: the same folder as its own platformdirs gives."""
    home = os.environ.get("FOUNDATIONS_HOME")
    if home:
        return os.path.abspath(os.path.expanduser(home))
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/foundations")
    given = os.environ.get("XDG_DATA_HOME", "").strip()
    return os.path.join(given or os.path.expanduser("~/.local/share"), "foundations")


def project_name(folder: str) -> str:
    """Return the project that a folder belongs to: the environment's, that of foundations.toml, else its own name."""
    given = os.environ.get("FOUNDATIONS_PROJECT_NAME") or os.environ.get("PROJECT_NAME")
    if given:
        return given
    at = folder
    while True:
        for name, table in (("foundations.toml", ""), ("pyproject.toml", "tool.foundations")):
            project = _project_in(os.path.join(at, name), table)
            if project:
                return project
        above = os.path.dirname(at)
        if above == at or os.path.exists(os.path.join(at, ".git")):
            return os.path.basename(folder) or "default"
        at = above


def _project_in(path: str, table: str) -> str:
    """Return ``project`` of a TOML file; by its lines, for there is no reader before Python 3.11."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    here = ""
    for line in lines:
        header = re.match(r"\s*\[\s*([\w.\"-]+)\s*\]", line)
        if header:
            here = header.group(1)
        value = re.match(r"\s*project\s*=\s*(?:\"([^\"\\]*)\"|'([^']*)')", line)
        if value and here == table:
            return value.group(1) or value.group(2) or ""
    return ""


# --- beginning --------------------------------------------------------------------------------------------------


def _identity() -> str:
    given = os.environ.get("FOUNDATIONS_JOB_ID", "")
    if encoding.is_job_id(given):
        return given
    process = _process()
    if _ranks() > 1:  # the ranks of one launcher are one run
        return _identity_of(_parent(process), ":".join(os.environ.get(name, "") for name in _OF_A_LAUNCH))
    return _identity_of(process)


def _identity_of(process: int, words: str = "") -> str:
    """Return the id of a run that several processes are, by the one that they have in common."""
    identity = f"{os.uname().nodename}:{process}:{start_time(process)}:{boot_id()}:{words}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _process() -> int:
    """Return the process that the run is: this one, or the one whose child, at any depth, multiprocessing made it."""
    if not _is_child():
        return os.getpid()
    process: int = sys.modules["multiprocessing.process"].parent_process().pid
    while b"multiprocessing" in _command_line(process):  # one that it spawned, or the server that forks
        process = _parent(process)
    return process


def _command_line(process: int) -> bytes:
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    """Return the parent of a process, 0 where that is unknown."""
    if pid == os.getpid():
        return os.getppid()
    try:
        return int(_stat(pid)[1])
    except (OSError, ValueError, IndexError):
        return 0


_OF_A_LAUNCH = (
    "PMIX_NAMESPACE",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "MASTER_PORT",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
)
"""What tells one launch from the next of the same parent."""


_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", ""),  # torchrun
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ""),  # mpirun of Open MPI
    ("PMI_RANK", "PMI_SIZE", ""),  # that of MPICH and Intel
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_ID"),  # srun; a batch script itself has no step
)
"""Variables by which launchers tell a process its rank and how many there are, and which has to be there, too."""


def _rank_and_ranks() -> "Tuple[int, int]":
    for rank, ranks, needed in _LAUNCHERS:
        if ranks in os.environ and rank in os.environ and (not needed or needed in os.environ):
            try:
                return int(os.environ[rank]), int(os.environ[ranks])
            except ValueError:
                continue
    return 0, 1


def _ranks() -> int:
    return _rank_and_ranks()[1]


def _is_first_rank() -> bool:
    return _ranks() <= 1 or _rank_and_ranks()[0] == 0


def _is_leading() -> bool:
    """Return whether what is written about the run as a whole is this process's to write."""
    return _is_first_rank() and not _is_child()


def _make_folder(top: str, identity: str) -> str:
    """Return the run's folder, a new one for each attempt of a given id; ranks go where their first one is."""
    job = os.path.join(top, "jobs", identity)
    number = 1
    while True:
        folder = os.path.join(job, str(number))
        is_over = _is_leading() and os.path.exists(os.path.join(folder, "end.json"))
        is_old = not _is_first_rank() and os.path.exists(os.path.join(job, str(number + 1)))
        try:
            if is_over or is_old:
                raise FileExistsError
            os.makedirs(folder, 0o700, exist_ok=_ranks() > 1 or _is_child() or not _is_named())
            break
        except FileExistsError:
            number += 1
    for name in ("records", "artifacts"):
        os.makedirs(os.path.join(folder, name), 0o700, exist_ok=True)
    return folder


def _is_named() -> bool:
    """Return whether the environment names the run: else nobody but this process, and its children, has its folder."""
    return encoding.is_job_id(os.environ.get("FOUNDATIONS_JOB_ID", ""))


def _facts(identity: str) -> "Dict[str, Any]":
    here = os.getcwd()
    process = _process()
    return {
        "job": identity,
        "project": project_name(here),
        "command": _command(process),
        "cwd": here,
        "git": _git(here),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "pid": process,
        "start_time": start_time(process),
        "of_children": _is_child(),
        "boot": boot_id(),
        "interactive": _is_interactive(),
        "started_at": time.time(),
    }


def _command(process: int) -> "List[str]":
    words = os.fsdecode(_command_line(process)).split("\0")[:-1]
    own = [_notebook()] if "ipykernel" in sys.modules else []
    own = own or list(getattr(sys, "orig_argv", None) or [sys.executable, *sys.argv])
    return words if words and process != os.getpid() else own


def _notebook() -> str:
    """Return the notebook that drives this process, as Jupyter's server or Visual Studio Code tells, else a word."""
    told = os.environ.get("JPY_SESSION_NAME", "")
    told = told if told.endswith(".ipynb") else getattr(sys.modules.get("__main__"), "__vsc_ipynb_file__", "")
    return os.path.relpath(told) if told else "notebook"


def _git(folder: str) -> "Dict[str, Any]":
    """Return where the working tree stands; nothing where there is no git or it takes long."""
    try:
        words = ["git", "-C", folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
        env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        asked = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=_GIT_SECONDS,
            env=env,
        )
        lines = asked.stdout.decode("utf-8", "replace").splitlines()
    except (OSError, subprocess.SubprocessError):
        return {}
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and " " in line[2:])
    if "branch.oid" not in heads:
        return {}
    dirty = any(not line.startswith("#") for line in lines)
    return {"commit": heads["branch.oid"], "branch": heads.get("branch.head", ""), "dirty": dirty}


def start_time(pid: int) -> "Optional[int]":
    """Return when a process started, in the kernel's ticks: with its pid, its identity. None where that is unknown."""
    try:
        return int(_stat(pid)[19])
    except (OSError, ValueError, IndexError):
        return None


def _stat(pid: int) -> "List[bytes]":
    """Return what the kernel says of a process, from its state on (proc(5))."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def boot_id() -> str:
    """Return the id of the machine's boot; empty where there is none."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def _read_json(path: str) -> "Dict[str, Any]":
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        table: "Dict[str, Any]" = json.load(file)
    return table


def _write_json(path: str, value: "Any", replaces: bool = True) -> None:
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(value, file)
    if replaces:
        return os.replace(temporary, path)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass  # the first rank's stands
    os.unlink(temporary)


# --- ending -----------------------------------------------------------------------------------------------------


def _watch_end() -> None:
    """Have the end of this process written down: an uncaught exception, an exit code, Ctrl-C."""
    global _program, _is_interactive_run
    _program, _is_interactive_run = _outermost_code(), _is_interactive()
    if not _monitor_exits():
        sys.exit = _noted_exit  # type: ignore[assignment]
        _note_quitters()
    atexit.register(_write_end)


def end_of_children() -> None:
    """Write down the end of a process that has not logged itself, where children of it that multiprocessing made have.

    What it exits with is not known; an exception that nobody caught is.
    """
    if _owner or _is_child() or _is_named() or _ranks() > 1:
        return
    folder = os.path.join(data_folder(), "runs", "jobs", _identity(), "1")
    if not os.path.isdir(folder) or os.path.exists(os.path.join(folder, "end.json")):
        return
    error = getattr(sys, "last_value", None)
    words = "ended; its exit code is not known, for only child processes of it logged"
    end: "Dict[str, Any]" = {"reason_code": "finished", "reason": words, "exit_code": None}
    if isinstance(error, KeyboardInterrupt):
        end = {"reason_code": "stopped_by_user", "reason": "stopped with Ctrl-C", "exit_code": 130, "signal": "SIGINT"}
    elif isinstance(error, BaseException):
        end = {"reason_code": "exit_code", "reason": "exit code 1", "exit_code": 1, "cause": _cause(_words(error))}
    try:
        _write_json(os.path.join(folder, "end.json"), {**end, "ended_at": time.time()})
    except OSError:
        pass  # then the children's own ends count


def _watch_child() -> None:
    """Have written down how this child of the run's process ended: it does so without atexit."""
    path, pid = os.path.join(_folder, "children", str(os.getpid())), os.getpid()
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    _write_json(path, {"start_time": start_time(pid)})

    def ended() -> None:
        error = sys.exc_info()[1]  # multiprocessing calls this while what ended the child passes by
        failed = error is not None and not (isinstance(error, SystemExit) and not error.code)
        try:
            if os.getpid() == pid:
                _write_json(path, {"ended_at": time.time(), "error": _words(error) if failed and error else ""})
        except OSError:
            pass  # then it counts as killed

    sys.modules["multiprocessing.util"].Finalize(None, ended, exitpriority=100)


def _is_child() -> bool:
    """Return whether multiprocessing started this process."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _monitor_exits() -> bool:
    """From Python 3.12 on, see an exit leave the program, however it was raised; it costs nothing until that."""
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is None:
        return False

    def unwound(code: "Any", offset: int, error: BaseException) -> None:
        global _exit
        if code is _program and isinstance(error, SystemExit):
            _exit = error

    for tool in (4, 3):  # ids that no debugger, coverage or profiler takes
        try:
            monitoring.use_tool_id(tool, "foundations")
        except ValueError:
            continue
        monitoring.register_callback(tool, monitoring.events.PY_UNWIND, unwound)
        monitoring.set_events(tool, monitoring.events.PY_UNWIND)
        return True
    return False


def _outermost_code() -> "Any":
    """Return the code that the main thread began with: what leaves it ends the program."""
    import threading

    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code if frame is not None else None


def _noted_exit(status: "Any" = None) -> None:
    """``sys.exit`` before Python 3.12, which keeps the exception: whether it ended the process is seen at the end."""
    global _exit
    _exit = SystemExit(status)
    raise _exit


def _note_quitters() -> None:
    """The same for ``exit()`` and ``quit()``, which raise by themselves."""
    import builtins

    quitter = type(getattr(builtins, "exit", None))
    if quitter.__name__ == "Quitter":
        setattr(quitter, "__call__", lambda self, code=None: _noted_exit(code))  # noqa: B010 - for type checkers


def _was_caught(error: SystemExit) -> bool:
    """Return whether a program went on after an exit was raised.

    Before Python 3.12 an exception bears a traceback once something has caught it. That frame is the first; it has gone
    on when it ended by returning, and not when it raised the exception again, as ``finally`` and ``with`` do.
    """
    trace = error.__traceback__
    if trace is None or hasattr(sys, "monitoring"):
        return False
    import opcode

    frame = trace.tb_frame
    return opcode.opname[frame.f_code.co_code[frame.f_lasti]].startswith(("RETURN", "YIELD"))


def _uncaught() -> "Dict[str, Any]":
    """Return how an exception that nobody caught ended the process; empty when none did.

    The interpreter keeps it in ``sys`` before any excepthook runs; one that was raised in a console, or shown by hand,
    did not leave the program.
    """
    error, trace = getattr(sys, "last_value", None), getattr(sys, "last_traceback", None)
    if error is None or trace is None:
        return {}
    if _last_cell_raised():
        words = _words(error)
        return {"reason_code": "exit_code", "reason": "its last cell raised " + words, "cause": _cause(words)}
    if _is_interactive_run or trace.tb_frame.f_code is not _program:
        return {}
    if isinstance(error, KeyboardInterrupt):
        return {"reason_code": "stopped_by_user", "reason": "stopped with Ctrl-C", "exit_code": 130, "signal": "SIGINT"}
    return {"reason_code": "exit_code", "reason": "exit code 1", "exit_code": 1, "cause": _cause(_words(error))}


def _words(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        return (f"{kind}: {error}" if str(error) else kind)[:500]
    except Exception:  # an exception whose text cannot be had
        return kind


def _cause(words: str) -> "Dict[str, Any]":
    return {"code": "exception", "words": words, "line": words, "evidence": []}


def _last_cell_raised() -> bool:
    """Return whether a notebook was left after a cell that failed."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "ipykernel" in sys.modules and getattr(shell, "last_execution_succeeded", True) is False


def _write_end() -> None:
    if os.getpid() != _owner:
        return
    uncaught = _uncaught()
    facts = {"reason_code": "finished", "reason": "finished", "exit_code": None if uncaught else 0, **uncaught}
    code = 0 if uncaught else _exit_code()
    if code is None:
        facts.update(reason="ended; its exit code is not seen before Python 3.12", exit_code=None)
    elif code:
        facts.update(reason_code="exit_code", reason=f"exit code {code}", exit_code=code)
    try:
        _write_json(os.path.join(_folder, "end.json"), {**facts, "ended_at": time.time()})
    except OSError:
        pass  # then the client takes it for lost, and says that its end was not seen


def _exit_code() -> "Optional[int]":
    """Return what the process exits with, as far as an exit was seen that nobody caught; None when it is not known."""
    if _exit is None:
        return None if not hasattr(sys, "monitoring") and _may_raise_exit() else 0
    if _exit.code is None or _was_caught(_exit):
        return 0
    return _exit.code & 0xFF if isinstance(_exit.code, int) else 1


def _may_raise_exit() -> bool:
    """Return whether the program has ways to exit that are not seen: ``raise SystemExit``, or its own ``sys.exit``."""
    main = vars(sys.modules.get("__main__", sys))
    original = [value for value in main.values() if getattr(value, "__name__", "") == "exit" and callable(value)]
    if any(value is not sys.exit for value in original):
        return True
    codes, seen = [_program, *(getattr(value, "__code__", None) for value in main.values())], 0
    while codes and seen < 10_000:
        code = codes.pop()
        seen += 1
        if "SystemExit" in getattr(code, "co_names", ()):
            return True
        codes += [inner for inner in getattr(code, "co_consts", ()) if hasattr(inner, "co_names")]
    return False
