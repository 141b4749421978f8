"""An environment without the job that may have started us."""

from __future__ import annotations

from typing import Dict

from remote_agent.system import processes

PREFIX = "FOUNDATIONS_"
_OF_AN_OUTER_JOB = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "ROCR_VISIBLE_DEVICES",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
)


def scrubbed(environment: Dict[str, str]) -> Dict[str, str]:
    """Return an environment for an agent, with nothing in it of the job that may have started it."""
    drop = _OF_AN_OUTER_JOB if "FOUNDATIONS_JOB_ID" in environment else ()
    clean = {k: v for k, v in environment.items() if not k.startswith(PREFIX) and k not in drop}
    clean[processes.AGENT_MARK] = "1"
    return clean
