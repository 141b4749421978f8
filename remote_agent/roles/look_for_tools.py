"""Looking for what a host can build environments with, before a job is sent: the client chooses and locks by it."""

from __future__ import annotations

import json

from remote_agent.environments import places, tools
from remote_agent.protocol.recipes import recipe_of
from remote_agent.roles.nonce import say
from remote_agent.storage.paths import Paths


def main(root: str, nonce: str, encoded: str = "[]") -> int:
    """Print, behind the nonce, what there is: a ``HostTools``.

    Args:
        root: the agent's folder.
        nonce: what the line begins with.
        encoded: JSON: recipes of environments that are looked for; then nothing else is.
    """
    paths = Paths(root)
    asked = [recipe for recipe in map(recipe_of, json.loads(encoded)) if recipe is not None]
    if asked:
        say(nonce, built=[recipe.hash for recipe in asked if places.of(paths, recipe).is_built(recipe.kind)])
    else:
        say(nonce, **tools.look(paths).to_wire())
    return 0
