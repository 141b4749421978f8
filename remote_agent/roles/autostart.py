"""Starting the agent when the host boots, so that a queue goes on before anybody looks: systemd --user, else cron."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from typing import List, Tuple

from remote_agent.protocol.roles import Autostart
from remote_agent.roles.nonce import say
from remote_agent.storage import files
from remote_agent.storage.paths import Paths

_UNIT = """\
[Unit]
Description=The agent of foundations in {root}

[Service]
ExecStart=/bin/sh {script}
KillMode=process

[Install]
WantedBy=default.target
"""
"""KillMode=process: jobs outlive the agent."""


def main(root: str, agent: str, nonce: str, choice: str) -> int:
    """Turn it "on" or "off", or say how it is ("status"), in one line behind the nonce."""
    try:
        answer = {"on": turn_on, "off": turn_off, "status": status}[choice](root).to_wire()
    except OSError as error:
        answer = {"error": {"code": "failed", "message": f"{error.strerror}: {error.filename}"}}
    say(nonce, **answer)
    return 0


def turn_on(root: str) -> Autostart:
    """Have the agent started at boot; say by what, and what may still be in the way."""
    script = os.path.join(root, "autostart.sh")
    paths = Paths(root)
    python, quoted = shlex.quote(sys.executable), shlex.quote(root)
    current = f'{quoted}/agents/"$(cat {shlex.quote(paths.current_agent)})"/agent.pyz'
    files.write_bytes(script, f"#!/bin/sh\nexec {python} -I -S -E {current} daemon {quoted}\n".encode())
    if _has_systemd():
        os.makedirs(os.path.dirname(_unit_path(root)), exist_ok=True)
        files.write_bytes(_unit_path(root), _UNIT.format(root=root, script=shlex.quote(script)).encode())
        problem = _run(["systemctl", "--user", "enable", _unit_name(root)])[1]
        if not problem:
            return Autostart("systemd --user", "" if _lingers() else _NO_LINGER)
    if shutil.which("crontab"):
        lines = [line for line in _crontab() if _mark(root) not in line]
        problem = _set_crontab([*lines, f"@reboot /bin/sh {shlex.quote(script)} {_mark(root)}"])
        return Autostart("cron", problem)
    return Autostart("", "this host has neither systemd --user nor cron")


def turn_off(root: str) -> Autostart:
    """Disable start at boot."""
    if os.path.exists(_unit_path(root)):
        _run(["systemctl", "--user", "disable", _unit_name(root)])
        os.unlink(_unit_path(root))
    if shutil.which("crontab") and any(_mark(root) in line for line in _crontab()):
        _set_crontab([line for line in _crontab() if _mark(root) not in line])
    if os.path.exists(os.path.join(root, "autostart.sh")):
        os.unlink(os.path.join(root, "autostart.sh"))
    return Autostart("", "")


def status(root: str) -> Autostart:
    """Say by what the agent is started at boot; "" for nothing."""
    if os.path.exists(_unit_path(root)):
        return Autostart("systemd --user", "" if _lingers() else _NO_LINGER)
    by_cron = shutil.which("crontab") and any(_mark(root) in line for line in _crontab())
    return Autostart("cron" if by_cron else "", "")


_NO_LINGER = "systemd starts it only when you log in, unless lingering is enabled: loginctl enable-linger"


def _unit_name(root: str) -> str:
    return f"foundations-{hashlib.sha256(root.encode()).hexdigest()[:8]}.service"


def _unit_path(root: str) -> str:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(config, "systemd", "user", _unit_name(root))


def _mark(root: str) -> str:
    return f"# {_unit_name(root)}"


def _has_systemd() -> bool:
    return bool(shutil.which("systemctl")) and not _run(["systemctl", "--user", "show-environment"])[1]


def _lingers() -> bool:
    return "Linger=yes" in _run(["loginctl", "show-user", str(os.getuid()), "-p", "Linger"])[0]


def _crontab() -> List[str]:
    return _run(["crontab", "-l"])[0].splitlines()


def _set_crontab(lines: List[str]) -> str:
    return _run(["crontab", "-"], "\n".join(lines) + "\n")[1]


def _run(words: List[str], text: str = "") -> Tuple[str, str]:
    """Return (what a program said, what went wrong)."""
    try:
        done = subprocess.run(words, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return "", f"{words[0]}: {error}"
    errors = done.stderr.decode("utf-8", "replace").strip()
    failed = f"{words[0]}: {errors or f'exit code {done.returncode}'}" if done.returncode else ""
    return done.stdout.decode("utf-8", "replace"), failed
