"""Submitting jobs from Python, as the command line does, by the client (``foundations-tui``).

A job on a host where that is not installed submits to its own host, through the agent there (``foundations.beside``).
"""

from __future__ import annotations

import os

from foundations import encoding, inplace, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Union

_resources: "Dict[str, Any]" = {}
_GB = 1 << 30


def set_project_name(project_name: str = "default") -> None:
    """Name the project of what is submitted from here on, and of the run of this process when it is outside of a job.

    Raises:
        ValueError: the name is not a string, or empty.
    """
    if not encoding.checked_key(project_name):
        raise ValueError("a project's name is not empty")
    if run.in_job() and "FOUNDATIONS_RUN" not in os.environ:
        run.warn("a job stays in the project it was submitted to; later submits go to " + project_name)
    os.environ["FOUNDATIONS_PROJECT_NAME"] = project_name
    inplace.set_project(project_name)


def set_job_resources(num_gpus: int = 0, ram: "Optional[float]" = None) -> None:
    """Say what the jobs that are submitted from here on need.

    Args:
        num_gpus: whole GPUs.
        ram: gigabytes of the host's memory to plan with; as it comes when not given.
    Raises:
        ValueError: a number of GPUs below 0 or not whole, or no memory at all.
    """
    if isinstance(num_gpus, bool) or not isinstance(num_gpus, int) or num_gpus < 0:
        raise ValueError(f"num_gpus is 0 or a larger whole number; got {num_gpus!r}")
    if ram is not None and (isinstance(ram, bool) or not isinstance(ram, (int, float)) or not ram > 0):
        raise ValueError(f"ram is more than 0 GB; got {ram!r}")
    _resources.update(num_gpus=num_gpus, ram=ram)


def submit(
    scheduler_config: str = "scheduler",
    job_directory: "Optional[str]" = None,
    project_name: "Optional[str]" = None,
    entrypoint: "Optional[str]" = None,
    params: "Optional[Dict[str, Any]]" = None,
    ram: "Optional[float]" = None,
    num_gpus: "Optional[int]" = None,
    stream_job_logs: "Optional[bool]" = None,
    command: "Optional[Union[str, List[str]]]" = None,
    name: str = "",
    tags: "Optional[Dict[str, Any]]" = None,
    group: str = "",
) -> "Deployment":
    """Submit a job: the working tree as it is now.

    Args:
        scheduler_config: a host of hosts.toml, ``"any"``, ``"tag:x"``; ``"scheduler"`` means the default host.
        job_directory: the folder to ship; the working directory when not given.
        project_name: the project; that of ``set_project_name`` or of the folder when not given.
        entrypoint: a script that Python runs; ``command`` wins.
        params: parameters of the job, which ``load_parameters`` gives there; no file is written here.
        ram: gigabytes to plan with.
        num_gpus: whole GPUs.
        stream_job_logs: print the log until the job has ended.
        command: the arguments of ``entrypoint``, or without one the whole command.
        name: a name for the job.
        tags: its tags.
        group: its group: jobs that are paused, stopped and looked at together.
    Returns:
        What tells of the job.
    Raises:
        ImportError: the client is not installed. foundations_tui.errors.FoundationsError: why nothing was submitted.
        ValueError: neither an entrypoint nor a command.
    """
    api = client()
    words = command.split() if isinstance(command, str) else [str(word) for word in command or ()]
    if entrypoint:
        words = ["python", entrypoint, *words]
    elif words and words[0].endswith(".py"):
        words = ["python", *words]
    if not words:
        raise ValueError("submit needs an entrypoint or a command")
    wanted_ram = ram if ram is not None else _resources.get("ram")
    job = api.submit(
        words,
        folder=job_directory or os.getcwd(),
        host="" if scheduler_config == "scheduler" else scheduler_config,
        project=project_name or os.environ.get("FOUNDATIONS_PROJECT_NAME", ""),
        params=dict(params or {}),
        gpus=num_gpus if num_gpus is not None else _resources.get("num_gpus", 0),
        ram=int(wanted_ram * _GB) if wanted_ram else 0,
        name=name,
        tags=dict(tags or {}),
        group=group,
    )
    deployment = Deployment(job)
    if stream_job_logs:
        deployment.stream_job_logs()
    return deployment


def client() -> "Any":
    """Return the client's interface for Python; inside a job of a host without it, what the host's agent can do.

    Raises:
        ImportError: the client is not installed.
    """
    try:
        from foundations_tui import api
    except ImportError as error:
        from foundations import beside

        if beside.agent():
            return beside
        raise ImportError("this needs the client: pip install foundations-tui (" + str(error) + ")") from None
    return api


class Deployment:
    """A submitted job. What asks for results waits until the job has ended."""

    def __init__(self, job: str) -> None:
        """Tell of the job of this id."""
        self._job = job

    def job_name(self) -> str:
        """Return the job's id."""
        return self._job

    def get_job_status(self) -> str:
        """Return "queued", "running", "completed", "failed", "stopped" or "lost" (and the steps between)."""
        return str(client().job(self._job, fresh=True)["state"])

    get_true_job_status = get_job_status

    def is_job_complete(self) -> bool:
        """Return whether it has ended, however."""
        return self.get_job_status() in ("completed", "failed", "stopped", "lost")

    def wait_for_deployment_to_complete(self, wait_seconds: float = 5) -> None:
        """Wait until it has ended; news come at once, so ``wait_seconds`` is taken and not needed."""
        client().wait([self._job])

    def stream_job_logs(self, write: "Optional[Callable[[str], Any]]" = None) -> None:
        """Print the log as it grows, until the job has ended."""
        import sys

        out = write or sys.stdout.write
        for page in client().follow_log(self._job):
            out(page.decode("utf-8", "replace"))

    def get_job_logs(self) -> str:
        """Return the log as it is now."""
        text: str = client().log(self._job).decode("utf-8", "replace")
        return text

    def get_metric(self, metric_name: str) -> "Any":
        """Return the last value of a metric.

        Raises:
            KeyError: the job has logged no such metric.
        """
        summary: "Dict[str, Any]" = self.get_job_details()["metrics"][metric_name]
        return summary["last"]

    def get_param(self, param_name: str) -> "Any":
        """Return a parameter.

        Raises:
            KeyError: the job has no such parameter.
        """
        return self.get_job_details()["params"][param_name]

    def get_job_details(self) -> "Dict[str, Any]":
        """Return all that is known of it, as ``foundations show --json`` prints it."""
        self.wait_for_deployment_to_complete()
        details: "Dict[str, Any]" = client().job(self._job, fresh=True)
        return details
