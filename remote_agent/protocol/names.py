"""What jobs and variables may be called. Pure."""

from __future__ import annotations

import re

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
"""It stands in paths and command lines."""
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
