"""The facts of a job in a few words."""

from __future__ import annotations

from foundations_tui.store.queries import Recorded
from foundations_tui.text import humanize
from remote_agent.protocol.facts import Facts


def python(recorded: Recorded) -> str:
    """Return which Python a job ran with; empty when that was not recorded."""
    facts = recorded.facts
    if facts is None or facts.interpreter is None:
        return ""
    count = f", {humanize.plural(len(recorded.packages), 'package')}" if recorded.packages is not None else ""
    at = f" at {facts.interpreter.path}" if facts.environment is None else ""  # that of an environment says nothing
    return f"{facts.interpreter.version or 'version unknown'}{at}{count}"


def environment(recorded: Recorded) -> str:
    """Return what the environment of a job was built from; empty when it had none."""
    recipe = recorded.recipe
    if not recipe:
        return ""
    image = recorded.facts and recorded.facts.image
    parts = [
        recipe.get("source"),
        recorded.lock and f"lock {recorded.lock[:12]}",
        image,
        str(recipe.get("hash", ""))[:12],
    ]
    return ", ".join(str(part) for part in parts if part)


def machine(facts: Facts | None) -> str:
    """Return on what kind of machine a job ran; empty when that was not recorded."""
    if facts is None:
        return ""
    parts = [facts.os, facts.kernel, facts.cpu, facts.ram and f"{humanize.size(facts.ram)} RAM"]
    gpus = [gpu.name or "a GPU" for gpu in facts.gpus or ()]
    driver = facts.driver and f"driver {facts.driver}" + (f" (CUDA {facts.cuda})" if facts.cuda else "")
    return ", ".join(str(part) for part in (*parts, *gpus, driver) if part)
