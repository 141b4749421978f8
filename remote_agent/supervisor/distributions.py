"""A project's own distributions, as an installer would leave them: metadata that is found, and programs on the PATH.

Their code is imported from the job's folder; nothing of it is copied.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Any, Mapping

_SCRIPTS = ("console_scripts", "gui_scripts")
_UNFIT = re.compile(r"['\\\n]")
"""What cannot stand in the second line of a program."""
_PROGRAM = """#!/bin/sh
'''exec' {python} "$0" "$@"
' '''
import sys
from {module} import {first}
sys.exit({function}())
"""
"""Both shell and Python, as installers write it where a path is too long for the first line."""


def write(distributions: Mapping[str, Any], python: str, site: str, programs: str) -> None:
    """Write the metadata and programs of distributions.

    Args:
        distributions: as a job's specification has them.
        python: the interpreter that its programs run with.
        site: the folder for metadata, to be put on PYTHONPATH.
        programs: the folder for programs, to be put on PATH.
    Raises:
        OSError: the disk does not take it.
    """
    os.makedirs(site, 0o700, exist_ok=True)
    os.makedirs(programs, 0o700, exist_ok=True)
    for name, told in distributions.items():
        folder = os.path.join(site, f"{re.sub('[-_.]+', '_', name)}-{told['version']}.dist-info")
        os.makedirs(folder, 0o700, exist_ok=True)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {told['version']}\n"
        _write(os.path.join(folder, "METADATA"), metadata)
        groups = told.get("entry_points", {})
        _write(os.path.join(folder, "entry_points.txt"), "".join(map(_section, groups, groups.values())))
        for group in _SCRIPTS:
            for program, reference in groups.get(group, {}).items():
                _write_program(os.path.join(programs, program), reference, python)


def _section(group: str, entries: Mapping[str, str]) -> str:
    """Return one group of entry_points.txt (the packaging specification of entry points)."""
    return f"[{group}]\n" + "".join(f"{name} = {reference}\n" for name, reference in entries.items()) + "\n"


def _write_program(path: str, reference: str, python: str) -> None:
    module, _, function = reference.partition("[")[0].replace(" ", "").partition(":")
    if not function:
        return  # a module is no program
    word = "python" if _UNFIT.search(python) else shlex.quote(python)
    _write(path, _PROGRAM.format(python=word, module=module, first=function.partition(".")[0], function=function))
    os.chmod(path, 0o700)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
