"""The verbs star and unstar."""

from __future__ import annotations

from foundations_tui.cli.outcomes import marking

star = marking("star", "starred", True, "Star jobs: is:starred finds them.")
unstar = marking("unstar", "starred", False, "Take the star away.")
