"""The command line as a user runs it, in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.sshd import Sshd

FOUNDATIONS = [sys.executable, "-c", "from foundations_tui.cli.main import main; main()"]


class Client:
    """One installation: a FOUNDATIONS_HOME, and the hosts in its hosts.toml."""

    def __init__(self, home: Path, project: Path) -> None:
        self.home = home
        self.project = project
        self.roots = [home / "agent"]
        home.mkdir(parents=True, exist_ok=True)
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

    def start(self, *words: str, cwd: Path | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start the command line and return at once."""
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
        process = self.start(*words, **options)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise AssertionError(f"{words} did not end in {timeout} s\n{stdout}\n{stderr}") from None
        done = Done(process.returncode, stdout, stderr)
        assert "Traceback" not in str(stderr), stderr
        assert code is None or done.code == code, f"{words} exited with {done.code}\n{stdout}\n{stderr}"
        return done

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
        found: dict[str, Any] = {}

        def there() -> bool:
            found.update(self.job(job))
            return found["state"] == state

        wait_until(there, seconds, lambda: f"{job} is {found.get('state')}, not {state}: {found}")
        return found


class Done:
    """How a run of the command line ended."""

    def __init__(self, code: int, stdout: Any, stderr: Any) -> None:
        self.code, self.stdout, self.stderr = code, stdout, stderr


def wait_until(condition: Callable[[], bool], seconds: float = 30, words: Callable[[], str] = str) -> None:
    """Wait for a condition; it fails only after a time that means a hang."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, words()
        time.sleep(0.05)


def use_slots(client: Client, slots: int, more: str = "") -> None:
    (client.home / "hosts.toml").write_text(f"{more}\n[hosts.local]\nmax_jobs = {slots}\n")
