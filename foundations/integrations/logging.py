"""A handler for Python's logging: records that bear metrics or parameters are tracked.

logging.getLogger().addHandler(FoundationsHandler())
logger.info("epoch done", extra={"metrics": {"loss": 0.3}, "step": 4})
"""

from __future__ import annotations

import logging

from foundations import run


class FoundationsHandler(logging.Handler):
    """Takes ``extra={"metrics": {...}, "params": {...}, "step": n}`` of a log record; its message is left alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Track what a record bears."""
        try:
            metrics, params = getattr(record, "metrics", None), getattr(record, "params", None)
            if isinstance(metrics, dict):
                run.log_metrics(metrics, step=getattr(record, "step", None))
            if isinstance(params, dict):
                run.log_params(params)
        except Exception:
            self.handleError(record)
