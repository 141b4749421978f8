"""Where the client keeps its files: each folder and file is one function.

``$FOUNDATIONS_HOME``, when set, holds everything that the client writes and the local agent's root.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from foundations_tui.errors import ConfigError


def home() -> Path | None:
    """Return ``$FOUNDATIONS_HOME``, or None when it is not set.

    Raises:
        ConfigError: it names no folder.
    """
    value = os.environ.get("FOUNDATIONS_HOME")
    try:
        return Path(value).expanduser().absolute() if value else None
    except (RuntimeError, OSError) as error:
        raise ConfigError(f"FOUNDATIONS_HOME={value}: {error}", "set it to a folder's whole path") from None


def config_folder() -> Path:
    """Return the folder of hosts.toml."""
    return home() or _platform("config")


def data_folder() -> Path:
    """Return the folder of the store, the logs and the snapshots, made private when it is not there.

    Raises:
        ConfigError: it cannot be made.
    """
    folder = home() or _platform("data")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"our own folder {folder} cannot be made: {error.strerror}", "FOUNDATIONS_HOME can name another one"
        ) from None
    return folder


def hosts_file() -> Path:
    """Return hosts.toml."""
    return config_folder() / "hosts.toml"


def store_file() -> Path:
    """Return the SQLite database."""
    return data_folder() / "store.db"


def log_file(job: str, attempt: int) -> Path:
    """Return the local copy of an attempt's log."""
    return data_folder() / "logs" / job / f"{attempt}.log"


def stream_file(job: str, attempt: int, name: str) -> Path:
    """Return the local copy of a stream that is kept as a file: the log, or an event file, whatever it is called."""
    if name == "log":
        return log_file(job, attempt)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return data_folder() / "logs" / job / f"{attempt}.events" / digest


def outputs_folder(job: str) -> Path:
    """Return where the outputs of a job come to by themselves."""
    return data_folder() / "outputs" / job


def artifacts_folder(job: str) -> Path:
    """Return where the artifacts of a job come to."""
    return data_folder() / "artifacts" / job


def synced_folder(job: str) -> Path:
    """Return where the directories come to that a job keeps in step."""
    return data_folder() / "synced" / job


def incoming_folder() -> Path:
    """Return the folder in which what hosts send lies until it was checked; nothing is read from it otherwise."""
    return data_folder() / "incoming"


def snapshots_folder() -> Path:
    """Return the folder of the shadow repositories."""
    return data_folder() / "snapshots"


def known_hosts_file() -> Path | None:
    """Return our own known_hosts file, when ``$FOUNDATIONS_HOME`` asks for one."""
    own = home()
    return own / "known_hosts" if own else None


def local_agent_root() -> str:
    """Return the root of the agent on this machine; empty for its usual place."""
    own = home()
    return str(own / "agent") if own else ""


def _platform(kind: str) -> Path:
    import platformdirs  # not needed when $FOUNDATIONS_HOME is set; 20 ms

    path = (
        platformdirs.user_config_path("foundations") if kind == "config" else platformdirs.user_data_path("foundations")
    )
    return Path(path)
