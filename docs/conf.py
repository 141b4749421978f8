"""The site of the documents: ``make site``. What it shows lies here and one folder above."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

_HERE = Path(__file__).parent
_ABOVE = {
    "start.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changes.md": "CHANGELOG.md",
    "hosts.md": "hosts.example.toml",
}
"""Pages whose text stands above this folder."""

project = "Foundations"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Foundations"
html_static_path: list[str] = []
exclude_patterns = ["_build", "schema"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
pygments_style = "friendly"
pygments_dark_style = "native"


def _bring_pages(app: Sphinx) -> None:
    for name, source in _ABOVE.items():
        text = (_HERE.parent / source).read_text(encoding="utf-8")
        if source.endswith(".toml"):
            text = f"# hosts.toml\n\n```toml\n{text}```\n"
        text = text.replace("](docs/", "](").replace("](CONTRIBUTING.md", "](contributing.md")
        text = text.replace("](CHANGELOG.md", "](changes.md").replace("](hosts.example.toml", "](hosts.md")
        text = text.replace("[Apache-2.0](LICENSE)", "Apache-2.0")
        (Path(app.srcdir) / name).write_text(text, encoding="utf-8")


def _take_pages_away(app: Sphinx, error: Exception | None) -> None:
    for name in _ABOVE:
        (Path(app.srcdir) / name).unlink(missing_ok=True)
    shutil.rmtree(Path(app.outdir) / ".doctrees", ignore_errors=True)


def setup(app: Sphinx) -> None:
    """Bring the pages that stand above before they are read, and take them away again."""
    app.connect("builder-inited", _bring_pages)
    app.connect("build-finished", _take_pages_away)
