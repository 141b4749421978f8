"""An agent that lies on this machine already, compiled: made once a process, copied into each home.

Hosts that are reached over SSH are not given it: there the agent is shipped, as everywhere.
"""

from __future__ import annotations

import atexit
import compileall
import functools
import shutil
import tempfile
import zipfile
from pathlib import Path

from foundations_tui.hosts import bundle
from remote_agent import CODE_FOLDER
from remote_agent.__main__ import _unpack
from remote_agent.daemon.startup import UNPACKED
from remote_agent.system import processes


@functools.cache
def _agents() -> Path:
    """Return a folder ``agents`` as the first daemon leaves it."""
    top = Path(tempfile.mkdtemp(prefix="golden-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    folder = top / "agents" / bundle.content_hash()
    folder.mkdir(parents=True, mode=0o700)
    (folder / "agent.pyz").write_bytes(bundle.build())
    _unpack(str(folder / "agent.pyz"), str(folder / (CODE_FOLDER + processes.boot_id())))
    with zipfile.ZipFile(folder / "agent.pyz") as zipapp:
        zipapp.extractall(folder / "sdk", [n for n in zipapp.namelist() if n.startswith(UNPACKED)])
    compileall.compile_dir(folder / "sdk", quiet=1)
    return top / "agents"


def lay(root: Path) -> None:
    """Put the agent into a root that has none."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(_agents(), root / "agents")
