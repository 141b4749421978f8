"""Print the oldest versions that pyproject.toml allows of what the core and the model server need, for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["serve"]]:
        print(re.sub(r">=([^,;\s]+)[^;]*", r"==\1", requirement))
