"""What a short role of the agent says: one line behind the client's nonce, whatever else a login shell prints."""

from __future__ import annotations

import json
import os
from typing import Any


def say(nonce: str, **words: Any) -> None:
    """Print the line: the nonce, and the words as JSON."""
    os.write(1, f"\n{nonce} {json.dumps(words)}\n".encode())
