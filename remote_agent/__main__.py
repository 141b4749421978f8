"""One file, several roles: ``agent.pyz daemon|proxy|receive|send|... ROOT ...``. Each imports only what it needs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import remote_agent

if TYPE_CHECKING:
    from typing import List


def main(argv: List[str]) -> int:
    """Take on the role that the first word names."""
    role, root, *rest = argv
    _import_from_folder(may_make=role == "daemon")
    if role == "proxy":
        from remote_agent.roles import proxy

        return proxy.main(root, _own_hash())
    if role == "daemon":
        from remote_agent.daemon import loop

        return loop.main(root, _own_hash(), *map(int, rest))
    if role == "receive":
        from remote_agent.roles import transfer

        return transfer.receive(root, *rest)
    if role == "send":
        from remote_agent.roles import transfer

        return transfer.send(root, *rest)
    if role == "survey":
        from remote_agent.roles import transfer

        return transfer.survey(root, *rest)
    if role == "trial":
        from remote_agent.roles import try_setup

        return try_setup.main(root, *rest)
    if role == "tools":
        from remote_agent.roles import look_for_tools

        return look_for_tools.main(root, *rest)
    if role == "build":
        from remote_agent.environments import builder

        return builder.main(root, *rest)
    if role == "take-data":
        from remote_agent.roles import data_sets

        return data_sets.take(root, *rest)
    if role == "keep-data":
        from remote_agent.roles import data_sets

        return data_sets.keep(root, *rest)
    if role == "check-data":
        from remote_agent.roles import data_sets

        return data_sets.check(root, *rest)
    if role == "facts":
        from remote_agent.roles import look_behind_setup

        return look_behind_setup.main(root, *rest)
    if role == "nested":
        from remote_agent.roles import nested

        return nested.main(root, *rest)
    if role == "notify":
        from remote_agent.roles import deliver_notice

        return deliver_notice.main()
    if role == "relay":
        from remote_agent.roles import relay

        return relay.main(root, *rest)
    if role == "enter":
        from remote_agent.roles import enter

        return enter.main(root, _own_hash(), *rest)
    if role == "autostart":
        from remote_agent.roles import autostart

        return autostart.main(root, _own_hash(), *rest)
    if role == "uninstall":
        from remote_agent.roles import uninstall

        return uninstall.main(root, *rest)
    sys.stderr.write(f"unknown role {role!r}\n")
    return 2


def _own_hash() -> str:
    """Return the content hash that this zipapp is filed under."""
    return os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0])))


def _import_from_folder(may_make: bool) -> None:
    """Import from a folder beside the zipapp that holds it compiled: it starts twice as fast.

    The folder counts for this boot only: what lay there when the power went may be damaged. One of which something
    is missing does not count either; imports then come from the zipapp.

    Args:
        may_make: make the folder when it is not there, or not whole.
    """
    zipapp = os.path.abspath(sys.argv[0])
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            folder = os.path.join(os.path.dirname(zipapp), remote_agent.CODE_FOLDER + file.read().strip())
    except OSError:
        return
    try:
        if may_make and zipapp.endswith(".pyz") and not _is_whole(folder):
            _unpack(zipapp, folder)
    except OSError:
        pass  # without room for it, or where none can be made
    if _is_whole(folder):
        sys.dont_write_bytecode = True  # a full disk would cut it short; what is there is compiled already
        remote_agent.__path__.insert(0, os.path.join(folder, "remote_agent"))


def _is_whole(folder: str) -> bool:
    """Return whether everything is there that was unpacked, by its size."""
    try:
        with open(os.path.join(folder, "contents"), encoding="utf-8") as file:
            listed = [line.rsplit(" ", 1) for line in file.read().splitlines()]
        return bool(listed) and all(os.stat(os.path.join(folder, name)).st_size == int(size) for name, size in listed)
    except (OSError, ValueError):
        return False


def _unpack(zipapp: str, folder: str) -> None:
    """Unpack and compile; the folder is there whole or not at all."""
    import shutil
    import zipfile  # 2 MB that only the first daemon needs

    temporary = "%s.%s.tmp" % (folder, os.urandom(8).hex())
    try:
        with zipfile.ZipFile(zipapp) as bundle:
            names = [name for name in bundle.namelist() if name.startswith("remote_agent/")]
            bundle.extractall(temporary, names)
        names += [_compile(temporary, name) for name in names if name.endswith(".py")]
        with open(os.path.join(temporary, "contents"), "w", encoding="utf-8") as file:
            file.writelines("%s %d\n" % (name, os.stat(os.path.join(temporary, name)).st_size) for name in names)
        if os.path.lexists(folder):
            os.rename(folder, temporary + ".old")
        os.rename(temporary, folder)
    finally:
        for path in (temporary, temporary + ".old"):
            shutil.rmtree(path, ignore_errors=True)


def _compile(top: str, name: str) -> str:
    """Compile one module, and return the name of the file that Python looks for; unlike Python's own, a write that a
    full disk cuts short is an error.
    """
    import importlib.util
    import marshal
    import struct

    path = os.path.join(top, name)
    with open(path, "rb") as file:
        source = file.read()
    stats = os.stat(path)
    compiled = importlib.util.cache_from_source(name)
    os.makedirs(os.path.dirname(os.path.join(top, compiled)), exist_ok=True)
    with open(os.path.join(top, compiled), "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER)
        file.write(struct.pack("<III", 0, int(stats.st_mtime) & 0xFFFFFFFF, stats.st_size & 0xFFFFFFFF))
        file.write(marshal.dumps(compile(source, path, "exec", dont_inherit=True)))
    return compiled


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
