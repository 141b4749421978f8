"""The SDK that a training script imports: ``import foundations``.

It is there by itself inside every job, needs nothing installed, and only the standard library of Python 3.8 or newer.
Logging never stops or slows a training: a call is one write to a file that this process alone appends to. Outside a
job the first call begins a run on this machine, which is listed like a job.
"""

from __future__ import annotations

from foundations.run import job_id, log_metric, log_metrics, log_param, log_params, set_tag, set_tags

__version__ = "0.1.0"

__all__ = [
    "DataContract",
    "artifact",
    "create_syncable_directory",
    "generate_random_parameters",
    "get_metrics_for_all_jobs",
    "history",
    "job_id",
    "jobs",
    "keep_data_contract",
    "load_model",
    "load_parameters",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "request_log",
    "save_artifact",
    "set_job_resources",
    "set_project_name",
    "set_tag",
    "set_tags",
    "set_tensorboard_logdir",
    "submit",
    "track_production_metrics",
]

_LATER = {
    "load_parameters": "parameters",
    "generate_random_parameters": "parameters.generate_random_parameters",
    "save_artifact": "artifacts",
    "create_syncable_directory": "artifacts",
    "set_tensorboard_logdir": "artifacts",
    "set_project_name": "submission",
    "set_job_resources": "submission",
    "submit": "submission",
    "artifact": "queries",
    "get_metrics_for_all_jobs": "queries",
    "history": "queries",
    "jobs": "queries",
    "load_model": "queries",
    "request_log": "production",
    "track_production_metrics": "production",
    "DataContract": "contracts",
    "keep_data_contract": "contracts",
}
"""What is imported when it is first used: the import of a script that only logs costs next to nothing."""


def __getattr__(name: str) -> object:
    import importlib

    if name in _LATER:
        value = getattr(importlib.import_module("foundations." + _LATER[name]), name)
        globals()[name] = value
        return value
    if name in ("artifacts", "contracts", "parameters", "production", "queries", "submission", "integrations"):
        return importlib.import_module("foundations." + name)
    hint = "; write " + _INSTEAD[name] if name in _INSTEAD else ""
    raise AttributeError("module 'foundations' has no attribute %r%s" % (name, hint))


_INSTEAD = {
    "current_foundations_job": "foundations.job_id() for its id, foundations.set_tag(...) and the like for the rest",
    "current_foundations_context": "foundations.job_id()",
    "get_metric": "foundations.history(job, key)",
    "log_artifact": "foundations.save_artifact(path, key)",
}
"""What users of other versions look for here."""
