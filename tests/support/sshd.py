"""A real OpenSSH server on loopback: own configuration, keys and port in a folder, no root needed."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from remote_agent.system import processes

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
MaxStartups 100
"""


class Sshd:
    """One server; it can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = _free_port()
        self.user = getpass.getuser()
        self.identity = folder / "user_key"
        make_key(self.identity)
        self.new_host_key()
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        (folder / "config").write_text(CONFIG.format(port=self.port, folder=folder))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address as hosts.toml has it."""
        return f"{self.user}@127.0.0.1:{self.port}"

    @property
    def known_hosts_line(self) -> str:
        """The line that makes the host key known."""
        kind, blob, *_ = (self.folder / "host_key.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {blob}\n"

    def configure(self, *lines: str) -> None:
        """Put lines before its configuration: of two the first counts. They count from the next start."""
        config = self.folder / "config"
        config.write_text("\n".join(lines) + "\n" + config.read_text())

    def new_host_key(self) -> None:
        """Give the server another host key; it counts from the next start."""
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink(missing_ok=True)
        make_key(self.folder / "host_key")

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own separation folder; only root's sshd wants it
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([sshd, "-D", "-e", "-f", self.folder / "config"], stderr=log, stdout=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.02)
        raise AssertionError("sshd did not start")

    def cut(self) -> None:
        """Kill the server and the processes that serve its connections, in the middle of whatever they do."""
        if self._process is None:
            return
        for pid in [self._process.pid, *_servers_below(self._process.pid)]:
            processes.send_signal(pid, signal.SIGKILL, processes.start_time(pid))
        self._process.wait()
        self._process = None


def make_key(path: Path) -> None:
    """Make an ed25519 key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], check=True)


def lock_key(path: Path, passphrase: str = "open sesame") -> None:
    """Give a private key a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", path], check=True)


def _servers_below(pid: int) -> list[int]:
    """Return the sshd processes below one: not what runs in their sessions, that has to see the connection end."""
    return [child for child in processes.descendants(pid) if _name(child).startswith("sshd")]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
