"""The command line as a user runs it, in a home of its own."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, ClassVar

from tests.support import agents, golden
from tests.support.forkserver import ForkServer
from tests.support.sshd import Sshd

FOUNDATIONS = [sys.executable, "-c", "from foundations_tui.cli.main import main; main()"]
_MAIN = "foundations_tui.cli.main:main"
_LOOK_SECONDS = 5.0
"""So long one look for a state waits: a host that was cut off is tried again at once by the next look."""


@functools.cache
def fork_server() -> ForkServer:
    """Return the one of this process."""
    server = ForkServer()
    atexit.register(server.close)
    return server


class Client:
    """One installation: a FOUNDATIONS_HOME, and the hosts in its hosts.toml."""

    made: ClassVar[list[Client]] = []
    """Every one that there has been: what they started is ended."""

    def __init__(self, home: Path, project: Path) -> None:
        Client.made.append(self)
        self.home = home
        self.project = project
        self.roots = [home / "agent"]
        golden.lay(self.roots[0])
        project.mkdir(parents=True, exist_ok=True)
        self.env = {**os.environ, "FOUNDATIONS_HOME": str(home), "PYTHONPATH": str(Path.cwd())}
        for name in ("FOUNDATIONS_JOB_ID", "NO_COLOR", "PYTHONDONTWRITEBYTECODE"):
            self.env.pop(name, None)

    def add_host(self, name: str, sshd: Sshd, known: bool = True, **options: Any) -> Path:
        """Put a host into hosts.toml; return the root of its agent."""
        root = Path(options.pop("root", self.home / f"root-{name}"))
        self.roots.append(root)
        lines = {"address": sshd.address, "identity": str(sshd.identity), "root": str(root), **options}
        table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        with (self.home / "hosts.toml").open("a") as file:
            file.write(f"[hosts.{name}]\n{table}\n")
        if known:
            with (self.home / "known_hosts").open("a") as file:
                file.write(sshd.known_hosts_line)
        return root

    def end_agents(self) -> None:
        """End everything that its agents run, and the agents."""
        for root in self.roots:
            agents.end(root)

    def start(self, *words: str, cwd: Path | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start the command line as a program of its own, with pipes, and return at once."""
        return subprocess.Popen(
            [*FOUNDATIONS, *words],
            cwd=cwd or self.project,
            env={**self.env, **options.pop("env", {})},
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=options.pop("text", True),
            **options,
        )

    def run(self, *words: str, code: int | None = 0, timeout: float = 120, **options: Any) -> Done:
        """Run the command line to its end; ``code`` is the exit code that is expected, None for any."""
        return self._checked(self._run_fork(_MAIN, words, timeout, **options), words, code)

    def spawn(self, *words: str, code: int | None = 0, timeout: float = 120, **options: Any) -> Done:
        """As ``run``, but as a program of its own: for what is about imports, or about other code than this."""
        process = self.start(*words, **options)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise AssertionError(f"{words} did not end in {timeout} s\n{stdout}\n{stderr}") from None
        return self._checked(Done(process.returncode, stdout, stderr), words, code)

    def _checked(self, done: Done, words: Sequence[str], code: int | None) -> Done:
        assert "Traceback" not in str(done.stderr), done.stderr
        assert code is None or done.code == code, f"{words} exited with {done.code}\n{done.stdout}\n{done.stderr}"
        return done

    def _run_fork(
        self,
        call: str,
        words: Sequence[str],
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
        text: bool = True,
    ) -> Done:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull) as nothing:
            fds = [nothing.fileno(), out.fileno(), err.fileno()]
            fork = fork_server().start(call, [*words], {**self.env, **env}, cwd or self.project, fds)
            try:
                code = fork.wait(timeout)
            except TimeoutError:
                fork.kill()
                fork.wait(timeout)
                raise AssertionError(f"{words} did not end in {timeout} s\n{_said(out)!r}\n{_said(err)!r}") from None
            stdout, stderr = _said(out), _said(err)
        return Done(code, *((stdout.decode(), stderr.decode()) if text else (stdout, stderr)))

    def json(self, *words: str, **options: Any) -> Any:
        """Run a verb with --json and return what it prints."""
        return json.loads(self.run(*words[:1], "--json", *words[1:], **options).stdout)

    def json_of(self, *words: str, **options: Any) -> Any:
        """Run words that ask for JSON themselves and return what they print."""
        return json.loads(self.run(*words, **options).stdout)

    def submit(self, *words: str, **options: Any) -> str:
        """Submit and return the job's id."""
        return str(self.json("submit", *words, **options)[0]["job"])

    def job(self, job: str, sync: bool = True) -> dict[str, Any]:
        """Return a job as ``show --json`` prints it."""
        words = ["show", "--json", *(["--sync"] if sync else []), job]
        return dict(json.loads(self.run(*words).stdout))

    def wait_until(self, job: str, state: str, seconds: float = 30) -> dict[str, Any]:
        """Return the job once it is in a state."""
        deadline = time.monotonic() + seconds
        while True:
            left = min(_LOOK_SECONDS, max(0.0, deadline - time.monotonic()))
            done = self._run_fork("tests.support.waiting:until_state", [job, state, f"{left}"], 120)
            assert done.code == 0, done.stderr
            row = dict(json.loads(done.stdout))
            if row["state"] == state:
                return row
            assert time.monotonic() < deadline, f"{job} is {row['state']}, not {state}: {row}"


class Done:
    """How a run of the command line ended."""

    def __init__(self, code: int, stdout: Any, stderr: Any) -> None:
        self.code, self.stdout, self.stderr = code, stdout, stderr


def _said(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def wait_until(condition: Callable[[], bool], seconds: float = 30, words: Callable[[], str] = str) -> None:
    """Wait for a condition; it fails only after a time that means a hang."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, words()
        time.sleep(0.05)


def use_slots(client: Client, slots: int, more: str = "") -> None:
    (client.home / "hosts.toml").write_text(f"{more}\n[hosts.local]\nmax_jobs = {slots}\n")
