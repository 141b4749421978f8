"""Private keys with a passphrase: asked about once in the life of a process, kept in its memory only."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import paramiko

from foundations_tui.hosts.asking import Asker, LockedKey

_ATTEMPTS = 3
_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_unlocked: dict[str, paramiko.PKey] = {}
_asking = threading.Lock()
"""Several hosts with the same key connect at once; it is asked about once."""


@dataclass(frozen=True)
class Unlocked:
    """A key that was unlocked with its passphrase."""

    path: str
    key: paramiko.PKey


def load(path: str) -> list[paramiko.PKey]:
    """Return the key in a file, with the certificate beside it; nothing when it is locked, or no key."""
    for kind in _KINDS:
        try:
            key = kind.from_private_key_file(path)
        except paramiko.PasswordRequiredException:
            return []
        except (paramiko.SSHException, ValueError, OSError):
            continue  # of another kind
        return [_certified(path, key), key] if os.path.exists(path + _CERTIFICATE) else [key]
    return []


_CERTIFICATE = "-cert.pub"


def _certified(path: str, key: paramiko.PKey) -> paramiko.PKey:
    """Return a key that shows its certificate, too."""
    try:
        certified = type(key).from_private_key_file(path)
        certified.load_certificate(path + _CERTIFICATE)
        return certified
    except (paramiko.SSHException, ValueError, OSError):
        return key


def locked(paths: Iterable[str]) -> list[str]:
    """Return those of some private keys that have a passphrase."""
    return [path for path in paths if _is_locked(path)]


def known(paths: Iterable[str]) -> Unlocked | None:
    """Return the first already unlocked key, or None."""
    return next((Unlocked(path, _unlocked[path]) for path in paths if path in _unlocked), None)


def unlock(path: str, asker: Asker) -> paramiko.PKey | None:
    """Return a locked key; None when nobody says its passphrase."""
    with _asking:
        if path not in _unlocked:
            key = _ask(path, asker)
            if key is not None:
                _unlocked[path] = key
        return _unlocked.get(path)


def _ask(path: str, asker: Asker) -> paramiko.PKey | None:
    for attempt in range(1, _ATTEMPTS + 1):
        passphrase = asker.passphrase(LockedKey(path, attempt))
        if passphrase is None:
            return None
        key = _load(path, passphrase)
        if key is not None:
            return key
    return None


def _load(path: str, passphrase: str) -> paramiko.PKey | None:
    """Return a key; None when the passphrase is a wrong one."""
    for kind in _KINDS:
        try:
            return kind.from_private_key_file(path, passphrase)
        except (paramiko.SSHException, ValueError, OSError):
            continue  # of another kind, or wrong
    return None


def _is_locked(path: str) -> bool:
    for kind in _KINDS:
        try:
            kind.from_private_key_file(path)
        except paramiko.PasswordRequiredException:
            return True
        except (paramiko.SSHException, ValueError, OSError):
            continue  # of another kind, or one that the connection itself complains of
    return False
