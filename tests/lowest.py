"""Print the oldest versions that pyproject.toml allows of what the core needs, one requirement a line, for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    for requirement in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        print(re.sub(r">=([^,;\s]+)[^;]*", r"==\1", requirement))
