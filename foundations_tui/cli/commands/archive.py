"""The verbs archive and unarchive."""

from __future__ import annotations

from foundations_tui.cli.outcomes import marking

archive = marking("archive", "archived", True, "Hide jobs from listings; nothing is deleted.")


unarchive = marking("unarchive", "archived", False, "Bring archived jobs back into the listings.")
