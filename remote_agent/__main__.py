"""One file, several roles: ``agent.pyz daemon|proxy|receive|send|... ROOT ...``. Each imports only what it needs."""

from __future__ import annotations

import os
import shutil
import sys
from typing import List

import remote_agent


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
    if role == "nested":
        from remote_agent.roles import nested

        return nested.main(root, *rest)
    if role == "notify":
        from remote_agent.roles import deliver_notice

        return deliver_notice.main()
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
    """Import from a folder beside the zipapp, where Python keeps what it has compiled: it starts twice as fast.

    The folder counts for this boot only: what lay there when the power went may be damaged.

    Args:
        may_make: make the folder when it is not there; without room for it, imports come from the zipapp.
    """
    zipapp = os.path.abspath(sys.argv[0])
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            folder = os.path.join(os.path.dirname(zipapp), "code-" + file.read().strip())
        if may_make and zipapp.endswith(".pyz") and not os.path.isdir(folder):
            _unpack(zipapp, folder)
    except OSError:
        return
    if os.path.isdir(folder):
        remote_agent.__path__.insert(0, os.path.join(folder, "remote_agent"))


def _unpack(zipapp: str, folder: str) -> None:
    import zipfile  # 2 MB that only the first daemon needs

    temporary = "%s.%d.tmp" % (folder, os.getpid())
    try:
        with zipfile.ZipFile(zipapp) as bundle:
            bundle.extractall(temporary, [name for name in bundle.namelist() if name.startswith("remote_agent/")])
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
