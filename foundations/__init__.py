"""The SDK that a training script imports: ``import foundations``.

It is there by itself inside every job, needs nothing installed, and only the standard library of Python 3.8 or newer.
Logging never stops or slows a training: a call is one write to a file that this process alone appends to.
"""

from __future__ import annotations

from foundations.parameters import load_parameters
from foundations.run import log_metric, log_param, set_tag

__all__ = ["load_parameters", "log_metric", "log_param", "set_tag"]
