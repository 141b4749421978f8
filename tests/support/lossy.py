"""A disk that loses, when the power goes, every byte and every name that was not synced."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from remote_agent.storage import files


class PowerLoss(BaseException):
    """The power has gone."""


class LossyDisk(files.Disk):
    """Real files below one folder; ``crash`` brings them back to what was durable."""

    def __init__(self, top: Path, dies_at: int = -1, forgets: str = "") -> None:
        """Begin with what is there as durable.

        Args:
            top: the folder that is watched.
            dies_at: number of the call before which the power goes; -1 for never.
            forgets: a site ("file.py:line") whose sync does nothing.
        """
        self.top = top
        self.calls = 0
        self.sites: set[str] = set()
        self._dies_at, self._forgets = dies_at, forgets
        self._contents: dict[int, bytes] = {}
        self._names: dict[str, int] = {}
        self._folders = {str(path) for path in (top, *top.rglob("*")) if path.is_dir()}
        self._kept: list[int] = []
        for path in top.rglob("*"):
            if path.is_file():
                self._names[str(path)] = path.stat().st_ino
                self._contents[path.stat().st_ino] = path.read_bytes()

    def create(self, path: str) -> int:
        self._step()
        fd = super().create(path)
        self._hold(path)
        return fd

    def open_log(self, path: str) -> int:
        self._step()
        fd = super().open_log(path)
        self._hold(path)
        return fd

    def write(self, fd: int, data: bytes) -> None:
        self._step()
        super().write(fd, data)

    def sync(self, fd: int) -> None:
        if self._skips():
            return
        size = os.fstat(fd).st_size
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            self._contents[os.fstat(fd).st_ino] = file.read(size)

    def truncate(self, fd: int, size: int) -> None:
        self._step()
        super().truncate(fd, size)

    def replace(self, source: str, target: str) -> None:
        self._step()
        super().replace(source, target)

    def sync_folder(self, path: str) -> None:
        if self._skips():
            return
        self._names = {name: ino for name, ino in self._names.items() if os.path.dirname(name) != path}
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                self._folders.add(entry.path)
            else:
                self._names[entry.path] = entry.stat().st_ino

    def sync_all(self, path: str) -> bool:
        if self._skips():
            return True
        for found in self.top.rglob("*"):
            if found.is_dir():
                self._folders.add(str(found))
            else:
                self._names[str(found)] = found.stat().st_ino
                self._contents[found.stat().st_ino] = found.read_bytes()
        return True

    def crash(self, keeps_names: bool = False) -> None:
        """Lose what was not synced.

        Args:
            keeps_names: of the names nothing is lost: a disk may write them before the bytes behind them.
        """
        if keeps_names:
            found = [path for path in self.top.rglob("*") if path.is_file()]
            self._names = {str(path): path.stat().st_ino for path in found}
            self._folders |= {str(path) for path in self.top.rglob("*") if path.is_dir()}
        durable = {name: self._contents.get(ino, b"") for name, ino in self._names.items() if self._is_reached(name)}
        for fd in self._kept:
            os.close(fd)
        self._kept = []
        for entry in self.top.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for folder in sorted(self._folders):
            if self._is_reached(folder):
                os.makedirs(folder, exist_ok=True)
        for name, content in durable.items():
            Path(name).write_bytes(content)

    def _is_reached(self, name: str) -> bool:
        while name != str(self.top):
            name = os.path.dirname(name)
            if name not in self._folders:
                return False
        return True

    def _hold(self, path: str) -> None:
        """Keep every file that was ever made open: its number then stays its own."""
        self._kept.append(os.open(path, os.O_RDONLY))

    def _skips(self) -> bool:
        self._step()
        frame = sys._getframe(2)
        site = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        self.sites.add(site)
        return site == self._forgets

    def _step(self) -> None:
        self.calls += 1
        if self.calls == self._dies_at:
            raise PowerLoss
