"""One file, several roles: ``agent.pyz daemon|proxy|receive|send|... ROOT ...``. Each imports only what it needs."""

from __future__ import annotations

import os
import sys
from typing import List


def main(argv: List[str]) -> int:
    """Take on the role that the first word names."""
    role, root, *rest = argv
    if role == "proxy":
        from remote_agent import proxy

        return proxy.main(root, _own_hash())
    if role == "daemon":
        from remote_agent import daemon

        return daemon.main(root, _own_hash(), *map(int, rest))
    if role == "receive":
        from remote_agent import transfer

        return transfer.receive(root, *rest)
    if role == "send":
        from remote_agent import transfer

        return transfer.send(root, *rest)
    if role == "survey":
        from remote_agent import transfer

        return transfer.survey(root, *rest)
    if role == "trial":
        from remote_agent import trial

        return trial.main(root, *rest)
    if role == "nested":
        from remote_agent import nested

        return nested.main(root, *rest)
    if role == "notify":
        from remote_agent import notify

        return notify.main()
    if role == "enter":
        from remote_agent import enter

        return enter.main(root, _own_hash(), *rest)
    if role == "autostart":
        from remote_agent import autostart

        return autostart.main(root, _own_hash(), *rest)
    if role == "uninstall":
        from remote_agent import uninstall

        return uninstall.main(root, *rest)
    sys.stderr.write(f"unknown role {role!r}\n")
    return 2


def _own_hash() -> str:
    """Return the content hash that this zipapp is filed under."""
    return os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
